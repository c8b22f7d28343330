"""Clips: their properties are read from the file, and damaged clips are detected."""

import gc
import hashlib
import subprocess
import sys
from pathlib import Path

import av
import pytest
from av.audio.stream import AudioStream
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image, ImageStat

from tests.support.clips import RATE, to_frame
from tests.unit.worker.media.clip_samples import (
    QUIET,
    RED,
    Paint,
    clip,
    inspected,
    moving,
    probe,
    still,
)
from worker.media.clip_frames import BadClip, IncompleteClip
from worker.media.clip_quality import property_findings
from worker.media.clips import Clip


def test_properties_are_read_from_the_file(path: Path) -> None:
    found = probe(clip(path))
    assert found == Clip(
        width=320,
        height=180,
        seconds=4.0,
        codec="h264",
        bytes=path.stat().st_size,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )
    assert property_findings(found, seconds=4, aspect="16:9") == ()
    assert property_findings(found) == ()


def frames_in_memory() -> int:
    """Return the number of frames in memory, including those of other tests."""
    # `isinstance` would evaluate the proxies of other libraries, such as Celery's current app.
    return sum(issubclass(type(found), VideoFrame) for found in gc.get_objects())


def test_an_inspection_leaves_no_frames_to_the_garbage_collector(path: Path) -> None:
    """The collector counts objects, not bytes: many frames of some megabytes would wait for it."""
    clip(path)
    gc.collect()
    gc.disable()
    try:
        before = frames_in_memory()
        inspected(path)
        assert frames_in_memory() == before
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "movflags", ["+faststart", "frag_keyframe+empty_moov+default_base_moof", "frag_every_frame"]
)
@pytest.mark.parametrize("missing", [1, 0.33])
def test_a_clip_cut_before_what_its_index_lists_is_incomplete(
    path: Path, movflags: str, missing: float
) -> None:
    whole = clip(path, movflags=movflags).read_bytes()
    # Fragments are followed by an index of their own, which no player needs.
    end = whole.rfind(b"mfra") - 4 if b"mfra" in whole else len(whole)
    path.write_bytes(whole[:end])
    assert probe(path).seconds == 4
    cut = missing if isinstance(missing, int) else int(end * missing)
    path.write_bytes(whole[: end - cut])
    with pytest.raises(IncompleteClip, match="its index lists"):
        probe(path)


@pytest.mark.parametrize("kept", [-8, -2, 0, 1, 40])
def test_a_clip_cut_before_or_within_its_first_frame_is_incomplete(path: Path, kept: int) -> None:
    """Run in a process of its own: decoding without a decoder would end it."""
    whole = clip(path, frames=12).read_bytes()
    path.write_bytes(whole[: whole.index(b"mdat") + 4 + kept])
    program = f"""
from pathlib import Path
from worker.media.clip_frames import IncompleteClip
from worker.media.clips import inspect_clip
try:
    inspect_clip(Path({str(path)!r}), Path({str(path)!r} + ".jpg"))
except IncompleteClip as error:
    print("incomplete")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=150, check=False
    )
    assert (done.returncode, done.stdout) == (0, "incomplete\n"), done.stderr[-2000:]


@pytest.mark.parametrize("frames", [20, 60])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("paint", [moving, still])
def test_frames_that_are_wrongly_listed_as_key_frames_are_not_decoded_alone(
    path: Path, paint: Paint, codec: str, frames: int
) -> None:
    """A file without a list of key frames says that every frame is one."""
    params = {"x265-params": f"{QUIET}:keyint=1000"} if codec == "libx265" else {"g": "1000"}
    content = clip(path, paint, frames, codec=codec, **params).read_bytes()
    path.write_bytes(content.replace(b"stss", b"free"))
    found = inspected(path)
    assert found.is_frozen == (paint is still)
    with Image.open(path.with_suffix(".jpg")) as image:
        wanted = ImageStat.Stat(moving(40).convert("L")).mean[0]
        assert ImageStat.Stat(image.convert("L")).mean[0] == pytest.approx(wanted, abs=8)


def test_the_cover_picture_of_a_clip_is_not_its_video(path: Path, tmp_path: Path) -> None:
    source = clip(tmp_path / "source.mp4", frames=25)
    with av.open(str(source)) as given, av.open(str(path), "w", format="mp4") as container:
        cover = container.add_stream("mjpeg", rate=1)
        assert isinstance(cover, VideoStream)
        cover.width, cover.height, cover.pix_fmt = 640, 640, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        video = container.add_stream_from_template(given.streams.video[0])
        container.mux(cover.encode(to_frame(Image.new("RGB", (640, 640), RED))))
        for packet in given.demux(given.streams.video[0]):
            if packet.dts is not None:
                packet.stream = video
                container.mux(packet)
        container.mux(cover.encode(None))
    found = inspected(path)
    assert (found.clip.width, found.clip.codec, found.clip.seconds) == (320, "h264", 1)


def test_a_clip_without_its_index_is_a_bad_clip(path: Path) -> None:
    whole = clip(path, movflags="use_metadata_tags").read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(BadClip) as refused:
        probe(path)
    assert not isinstance(refused.value, IncompleteClip)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>502 Bad Gateway</html>",
        b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp42",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.mp4\n",
        b"ffconcat version 1.0\nfile other.mp4\n",
        bytes(10_000),
    ],
)
def test_a_file_that_is_not_a_clip_is_a_bad_clip(path: Path, content: bytes) -> None:
    clip(path.with_name("other.mp4"), frames=5)
    path.write_bytes(content)
    with pytest.raises(BadClip):
        probe(path)
    assert not path.with_suffix(".jpg").exists()


def test_a_missing_file_is_not_a_bad_clip(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        probe(path)


def test_audio_alone_is_a_bad_clip(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44_100)
        assert isinstance(stream, AudioStream)
        frame = av.AudioFrame("fltp", "stereo", 1024)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate = 44_100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(BadClip, match="no video stream"):
        probe(path)


def test_undecodable_frames_are_a_bad_clip(path: Path) -> None:
    """The container is intact, its frames are not."""
    whole = bytearray(clip(path, frames=20).read_bytes())
    start = whole.index(b"mdat") + 4
    whole[start:] = b"\x55" * (len(whole) - start)
    path.write_bytes(whole)
    with pytest.raises(BadClip):
        probe(path)


def test_frames_too_large_to_decode_are_refused(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 8160, 4432, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(8160, 4432, "yuv420p")))
        container.mux(stream.encode(None))
    with pytest.raises(BadClip, match="8160 by 4432"):
        probe(path)


def test_damaged_clips_give_a_result_or_a_bad_clip(path: Path) -> None:
    """Run in a process of its own, so that a crash in native code is seen."""
    clip(path, frames=12)
    program = """
import sys
from pathlib import Path
from worker.media.clip_frames import BadClip, IncompleteClip
from worker.media.clips import inspect_clip
path, target = Path(sys.argv[1]), Path(sys.argv[1] + ".damaged")
whole = path.read_bytes()
outcomes = set()
for at in range(0, len(whole), max(1, len(whole) // 120)):
    target.write_bytes(whole[:at] + b"\\xff\\xff\\xff\\xff" + whole[at + 4 :])
    try:
        inspect_clip(target, Path(sys.argv[1] + ".jpg"))
        outcomes.add("good")
    except BadClip:
        outcomes.add("bad")
print(sorted(outcomes))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "['bad', 'good']\n", done.stderr[-2000:]
