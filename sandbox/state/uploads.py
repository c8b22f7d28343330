"""Uploaded files: detection of their kind by their first bytes, and the folder that keeps them."""

import hashlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from sandbox.responses import RefusalError
from sandbox.state.projects import Upload

CHUNK = 64 * 1024
_HEAD = 64

_STILL_BRANDS = {b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis"}
_BOX_KINDS = {b"ftyp": "mp4", b"moov": "mov", b"mdat": "mov", b"wide": "mov", b"free": "mov"}
_RIFF_KINDS = {b"WAVE": "wav", b"WEBP": "webp", b"AVI ": "avi"}


def sniff(head: bytes) -> str | None:
    """Return a file's kind by its first 64 bytes; None if it is not an accepted one."""
    if head.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if head.startswith(b"RIFF"):
        return _RIFF_KINDS.get(head[8:12])
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "webm" if b"webm" in head else "mkv"
    return _sniff_boxes(head) or _sniff_sound(head)


def _sniff_boxes(head: bytes) -> str | None:
    kind = _BOX_KINDS.get(head[4:8])
    if head[4:8] != b"ftyp":
        return kind
    brand = head[8:12]
    if brand in _STILL_BRANDS:
        return None
    if brand == b"qt  ":
        return "mov"
    return "m4a" if brand.startswith(b"M4A") else "mp4"


def _sniff_sound(head: bytes) -> str | None:
    if head[:2] in (b"\xff\xf1", b"\xff\xf9"):
        return "aac"
    if head.startswith(b"ID3") or head[:2] in (b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"\xff\xfa"):
        return "mp3"
    return None


class UploadStore:
    """A folder of uploads, each under its own SHA-256."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit

    async def keep(self, name: str, chunks: AsyncIterator[bytes]) -> Upload:
        """Store a file as it arrives, under the name that the client gave.

        Raises:
            RefusalError: 4001: its kind is not accepted; 4002: it is too large.
        """
        digest, size, head = hashlib.sha256(), 0, b""
        with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as target:
            temporary = Path(target.name)
            try:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > self._limit:
                        raise RefusalError(4002)
                    head = (head + chunk[:_HEAD])[:_HEAD]
                    digest.update(chunk)
                    target.write(chunk)
                kind = sniff(head)
                if kind is None:
                    raise RefusalError(4001)
                target.flush()
                sha256 = digest.hexdigest()
                path = temporary.replace(self._folder / sha256)  # noqa: ASYNC240 - quick
                return Upload(name=name, size=size, sha256=sha256, kind=kind, path=path)
            finally:
                temporary.unlink(missing_ok=True)  # noqa: ASYNC240 - quick
