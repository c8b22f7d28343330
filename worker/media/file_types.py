"""The supported file types, and how each is detected from the first bytes of a file."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

_HEAD: Final = 64


@dataclass(frozen=True, slots=True)
class FileType:
    """A file type. The first of its ``suffixes`` is given to new files."""

    name: str
    family: Literal["image", "video", "audio"]
    content_type: str
    suffixes: tuple[str, ...]

    @property
    def suffix(self) -> str:
        """The usual suffix of a file name, with its dot."""
        return self.suffixes[0]


JPEG: Final = FileType("JPEG", "image", "image/jpeg", (".jpg", ".jpeg", ".jpe", ".jfif"))
PNG: Final = FileType("PNG", "image", "image/png", (".png",))
WEBP: Final = FileType("WEBP", "image", "image/webp", (".webp",))
GIF: Final = FileType("GIF", "image", "image/gif", (".gif",))
HEIC: Final = FileType("HEIC", "image", "image/heic", (".heic", ".heif", ".hif"))
AVIF: Final = FileType("AVIF", "image", "image/avif", (".avif",))
TIFF: Final = FileType("TIFF", "image", "image/tiff", (".tiff", ".tif"))
BMP: Final = FileType("BMP", "image", "image/bmp", (".bmp", ".dib"))
MP4: Final = FileType("MP4", "video", "video/mp4", (".mp4", ".m4v"))
MOV: Final = FileType("MOV", "video", "video/quicktime", (".mov", ".qt"))
AVI: Final = FileType("AVI", "video", "video/x-msvideo", (".avi",))
WEBM: Final = FileType("WEBM", "video", "video/webm", (".webm",))
MKV: Final = FileType("MKV", "video", "video/x-matroska", (".mkv",))
MP3: Final = FileType("MP3", "audio", "audio/mpeg", (".mp3",))
WAV: Final = FileType("WAV", "audio", "audio/wav", (".wav",))
M4A: Final = FileType("M4A", "audio", "audio/mp4", (".m4a", ".m4b"))
AAC: Final = FileType("AAC", "audio", "audio/aac", (".aac",))

IMAGE_TYPES: Final = (JPEG, PNG, WEBP, GIF, HEIC, AVIF, TIFF, BMP)
FILE_TYPES: Final = (*IMAGE_TYPES, MP4, MOV, AVI, WEBM, MKV, MP3, WAV, M4A, AAC)
FILE_SUFFIXES: Final = frozenset(suffix for kind in FILE_TYPES for suffix in kind.suffixes)

IMAGE_FORMATS: Final = ", ".join(kind.name for kind in IMAGE_TYPES)
ATTACHMENT_FORMATS: Final = ", ".join(kind.name for kind in FILE_TYPES)

_SIGNATURES: Final = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"II*\x00", TIFF),
    (b"MM\x00*", TIFF),
    (b"II+\x00", TIFF),
    (b"MM\x00+", TIFF),
    (b"BM", BMP),
    (b"ID3", MP3),
)
_BEFORE_IMAGE: Final = re.compile(rb"(?:[\t\n\r ]|\xef\xbb\xbf)+")
_WITH_SIGNATURE: Final = frozenset({JPEG, PNG, GIF, WEBP})
_RIFF_TYPES: Final = {b"WEBP": WEBP, b"WAVE": WAV, b"AVI ": AVI}
_HEIF_BRANDS: Final = frozenset(b"heic heix heim heis hevc hevx mif1 msf1 heif".split())
_MP4_BRANDS: Final = tuple(b"iso mp4 avc M4V MSNV dash 3g f4v mmp4 NDS".split())
_MOV_ATOMS: Final = frozenset(b"moov mdat wide free skip pnot".split())


def detect_file_type(source: Path) -> FileType | None:
    """Detect a file's type from its first bytes, never from its name; None if it is unknown."""
    with source.open("rb") as file:
        head = file.read(_HEAD)
    return _detect(head[leading_bytes(head) :])


def leading_bytes(head: bytes) -> int:
    """Return how many bytes precede an image, given the first bytes of a file.

    Web servers that send images by a script often send a line break or a byte order mark first.
    """
    found = _BEFORE_IMAGE.match(head)
    return found.end() if found and _detect(head[found.end() :]) in _WITH_SIGNATURE else 0


def _detect(head: bytes) -> FileType | None:
    for magic, kind in _SIGNATURES:
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF":
        return _RIFF_TYPES.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _from_brands(head)
    if head[4:8] in _MOV_ATOMS:
        return MOV
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return WEBM if b"webm" in head else MKV
    return _from_frame_header(head)


def _from_brands(head: bytes) -> FileType | None:
    """Detect the type of an ISO base media file from its major and compatible brands."""
    length = int.from_bytes(head[:4], "big")
    major = head[8:12]
    brands = {major, *(head[at : at + 4] for at in range(16, min(length, len(head)), 4))}
    if brands & {b"avif", b"avis"}:
        return AVIF
    if brands & _HEIF_BRANDS:
        return HEIC
    if major == b"qt  ":
        return MOV
    if major in {b"M4A ", b"M4B "}:
        return M4A
    return MP4 if any(brand.startswith(_MP4_BRANDS) for brand in brands) else None


def _from_frame_header(head: bytes) -> FileType | None:
    """Detect AAC and MP3 files without a tag, which start with the header of a frame."""
    match head[:2]:
        case b"\xff\xf1" | b"\xff\xf9" | b"\xff\xf0" | b"\xff\xf8":
            return AAC
        case b"\xff\xfb" | b"\xff\xfa" | b"\xff\xf3" | b"\xff\xf2" | b"\xff\xe3" | b"\xff\xe2":
            return MP3
        case _:
            return None
