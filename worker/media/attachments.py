"""Checks of files attached to a job: music, videos, logos and other images."""

from pathlib import Path
from typing import Final

import av

from worker.media.file_types import AAC, AVI, M4A, MKV, MOV, MP3, MP4, WAV, WEBM, detect_file_type
from worker.media.images import prepare_image
from worker.media.prepared_file import PreparedFile, name_change, sha256_of, upload_name
from worker.media.refusals import (
    MAX_BYTES,
    check_size,
    refuse_on_error,
    too_large,
    unsupported_attachment,
)

# The demuxer is not left to FFmpeg, which could read a file as a list of other files.
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
    """Check an attached file. Its type is detected from its content, not from its name.

    Images are prepared like a job's own image. Videos and audio are opened, not changed. Blocks
    while it reads: call it through `worker.resources.offload`.

    Args:
        source: The file. It is not changed.
        name: The file's name, for messages and for the upload.
        workdir: An existing folder for changed copies of images.

    Raises:
        FileRefusedError: It cannot be used: ``unsupported_file``, ``file_too_large`` or
            ``bad_image``.
        OSError: The disk failed, so nothing is known about the file.
    """
    size = check_size(source, name)
    kind = detect_file_type(source)
    if kind is not None and kind.family == "image":
        return prepare_image(source, name, workdir)
    if size > MAX_BYTES:
        raise too_large(name, size, MAX_BYTES)
    if kind is None:
        raise unsupported_attachment(name, "is of an unknown type")
    damaged = unsupported_attachment(name, f"is a damaged {kind.name} file")
    with refuse_on_error(damaged):
        streams = _stream_types(source, _DEMUXERS[kind])
    if not streams & {"audio", "video"}:
        raise damaged
    if kind is MP4 and "video" not in streams:
        kind = M4A
    return PreparedFile(
        path=source,
        name=upload_name(name, kind),
        content_type=kind.content_type,
        bytes=size,
        sha256=sha256_of(source),
        changes=name_change(name, kind),
    )


def _stream_types(source: Path, demuxer: str) -> set[str]:
    """Return the types of the streams; an empty set if the file has no packet with data."""
    options = {"protocol_whitelist": "file"}
    with av.open(str(source.absolute()), format=demuxer, options=options) as container:
        first = next((packet for packet in container.demux() if packet.size), None)
        return {stream.type for stream in container.streams} if first is not None else set()
