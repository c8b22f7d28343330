"""Attachments: videos, audio and images, detected by their content."""

import wave
from pathlib import Path

import pytest

from tests.unit.worker.media.sample_media import camera_data, media_file, sample_image, save
from worker.file_refusal import FileRefusedError
from worker.media.attachments import check_attachment
from worker.media.prepared_file import PreparedFile, PreparedImage


@pytest.mark.parametrize(
    ("made", "name", "content_type"),
    [
        (("mp4", "libx264", None), "a.mp4", "video/mp4"),
        (("mov", "libx264", "aac"), "a.mov", "video/quicktime"),
        (("avi", "mpeg4", None), "a.avi", "video/x-msvideo"),
        (("webm", "libvpx", None), "a.webm", "video/webm"),
        (("matroska", "libx264", None), "a.mkv", "video/x-matroska"),
        (("mp3", None, "libmp3lame"), "a.mp3", "audio/mpeg"),
        (("ipod", None, "aac"), "a.m4a", "audio/mp4"),
        (("mp4", None, "aac"), "a.m4a", "audio/mp4"),
        (("adts", None, "aac"), "a.aac", "audio/aac"),
    ],
)
def test_attachments_are_detected_by_content(
    given: Path,
    workdir: Path,
    made: tuple[str, str | None, str | None],
    name: str,
    content_type: str,
) -> None:
    found = check_attachment(media_file(given, *made), name, workdir)
    assert found == PreparedFile(
        path=given,
        name=name,
        content_type=content_type,
        bytes=given.stat().st_size,
        sha256=found.sha256,
        changes=(),
    )
    assert check_attachment(given, "given.bin", workdir).name == f"given{Path(name).suffix}"


def test_a_wav_file_is_accepted(given: Path, workdir: Path) -> None:
    with wave.open(str(given), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(8000))
    assert check_attachment(given, "a.wav", workdir).content_type == "audio/wav"


def test_an_attached_image_is_prepared(given: Path, workdir: Path) -> None:
    save(sample_image(), given, "HEIF", exif=camera_data())
    found = check_attachment(given, "logo.heic", workdir)
    assert isinstance(found, PreparedImage)
    assert found.name == "logo.jpg"


@pytest.mark.parametrize(
    "content",
    [
        b"just text",
        b"ID3 without any audio",
        b"\xff\xfb",
        b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp42",
        b"RIFF\x24\x00\x00\x00WAVEfmt ",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n",
    ],
)
def test_unsupported_attachments_are_refused(given: Path, workdir: Path, content: bytes) -> None:
    given.write_bytes(content)
    with pytest.raises(FileRefusedError) as caught:
        check_attachment(given, "music.mp3", workdir)
    assert caught.value.code == "unsupported_file"
    assert "M4A" in caught.value.remedy


def test_an_attachment_of_201_mb_is_refused(given: Path, workdir: Path) -> None:
    with given.open("wb") as file:
        file.truncate(201 * 10**6)
    with pytest.raises(FileRefusedError) as caught:
        check_attachment(given, "long.mp4", workdir)
    assert caught.value.code == "file_too_large"
