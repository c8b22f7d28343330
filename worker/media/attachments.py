"""Check what goes along with a picture: music, a film, a logo, further pictures."""

from pathlib import Path
from typing import Final

import av

from worker.media.file_types import AAC, AVI, M4A, MKV, MOV, MP3, MP4, WAV, WEBM, detect_file_type
from worker.media.images import prepare_image
from worker.media.prepared_file import PreparedFile, sha256_of, upload_name
from worker.media.refusals import (
    MAX_BYTES,
    check_size,
    refuse_on_error,
    too_large,
    unsupported_attachment,
)

# Named, so that a file which passes for a film cannot be read as a list of other files.
_DEMUXERS: Final = {
    MP4: "mp4",
    MOV: "mov",
    M4A: "mp4",
    AVI: "avi",
    WEBM: "matroska",
    MKV: "matroska",
    MP3: "mp3",
    WAV: "wav",
    AAC: "aac",
}


def check_attachment(source: Path, name: str, workdir: Path) -> PreparedFile:
    """Check a file that a job attaches; content decides what it is, not its name.

    Pictures are prepared as a job's own picture is. Films and sounds are opened, not changed.
    Blocks while it reads: call it through `worker.resources.offload`.

    Args:
        source: The file. It is never changed.
        name: What people call it, for messages and for the upload's name.
        workdir: An existing folder for changed copies of pictures.

    Raises:
        FileRefusedError: It cannot be used (the contract's 4001 and 4002, or ``bad_image``).
        OSError: The disk failed; nothing is said about the file.
    """
    size = check_size(source, name)
    kind = detect_file_type(source)
    if kind is not None and kind.family == "image":
        return prepare_image(source, name, workdir)
    if size > MAX_BYTES:
        raise too_large(name, size, MAX_BYTES)
    if kind is None:
        raise unsupported_attachment(name, "is no file that can be read")
    damaged = unsupported_attachment(name, f"is a damaged {kind.name} file")
    with refuse_on_error(damaged):
        streams = _streams(source, _DEMUXERS[kind])
    if not streams & {"audio", "video"}:
        raise damaged
    if kind is MP4 and "video" not in streams:
        kind = M4A
    fitting = upload_name(name, kind)
    renamed = Path(fitting).suffix != Path(name).suffix
    return PreparedFile(
        path=source,
        name=fitting,
        content_type=kind.content_type,
        bytes=size,
        sha256=sha256_of(source),
        changes=(f"named {fitting}, because it is a {kind.name} file",) if renamed else (),
    )


def _streams(source: Path, demuxer: str) -> set[str]:
    """The types of the streams that hold at least one packet at the start of the file."""
    options = {"protocol_whitelist": "file"}
    with av.open(str(source.absolute()), format=demuxer, options=options) as container:
        first = next((packet for packet in container.demux() if packet.size), None)
        return {stream.type for stream in container.streams} if first is not None else set()
