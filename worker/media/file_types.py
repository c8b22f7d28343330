"""The kinds of files that are understood, and how each is recognised by its first bytes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

_HEAD: Final = 64


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file. ``suffixes`` starts with the one that is given to new files."""

    name: str
    family: Literal["picture", "video", "sound"]
    content_type: str
    suffixes: tuple[str, ...]

    @property
    def suffix(self) -> str:
        """The usual ending of a name, with its dot."""
        return self.suffixes[0]


JPEG: Final = Kind("JPEG", "picture", "image/jpeg", (".jpg", ".jpeg", ".jpe", ".jfif"))
PNG: Final = Kind("PNG", "picture", "image/png", (".png",))
WEBP: Final = Kind("WEBP", "picture", "image/webp", (".webp",))
GIF: Final = Kind("GIF", "picture", "image/gif", (".gif",))
HEIC: Final = Kind("HEIC", "picture", "image/heic", (".heic", ".heif", ".hif"))
AVIF: Final = Kind("AVIF", "picture", "image/avif", (".avif",))
TIFF: Final = Kind("TIFF", "picture", "image/tiff", (".tiff", ".tif"))
BMP: Final = Kind("BMP", "picture", "image/bmp", (".bmp", ".dib"))
MP4: Final = Kind("MP4", "video", "video/mp4", (".mp4", ".m4v"))
MOV: Final = Kind("MOV", "video", "video/quicktime", (".mov", ".qt"))
AVI: Final = Kind("AVI", "video", "video/x-msvideo", (".avi",))
WEBM: Final = Kind("WEBM", "video", "video/webm", (".webm",))
MKV: Final = Kind("MKV", "video", "video/x-matroska", (".mkv",))
MP3: Final = Kind("MP3", "sound", "audio/mpeg", (".mp3",))
WAV: Final = Kind("WAV", "sound", "audio/wav", (".wav",))
M4A: Final = Kind("M4A", "sound", "audio/mp4", (".m4a", ".m4b"))
AAC: Final = Kind("AAC", "sound", "audio/aac", (".aac",))

PICTURES: Final = (JPEG, PNG, WEBP, GIF, HEIC, AVIF, TIFF, BMP)
KINDS: Final = (*PICTURES, MP4, MOV, AVI, WEBM, MKV, MP3, WAV, M4A, AAC)

PICTURES_LISTED: Final = ", ".join(kind.name for kind in PICTURES)
ATTACHMENTS_LISTED: Final = ", ".join(kind.name for kind in KINDS)

_AT_THE_START: Final = (
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
_IN_RIFF: Final = {b"WEBP": WEBP, b"WAVE": WAV, b"AVI ": AVI}
_OF_HEIF: Final = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"heif"}
)
_OF_MP4: Final = (b"iso", b"mp4", b"avc", b"M4V", b"MSNV", b"dash", b"3g", b"f4v", b"mmp4", b"NDS")
_ATOMS_OF_MOV: Final = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})


def recognise(source: Path) -> Kind | None:
    """Tell a file's kind from its first bytes, never from its name; None: none that is known."""
    with source.open("rb") as file:
        head = file.read(_HEAD)
    for magic, kind in _AT_THE_START:
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF":
        return _IN_RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    if head[4:8] in _ATOMS_OF_MOV:
        return MOV
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return WEBM if b"webm" in head else MKV
    return _of_frame_header(head)


def _of_brands(head: bytes) -> Kind | None:
    """Tell the kinds of ISO base media files apart by their major and compatible brands."""
    length = int.from_bytes(head[:4], "big")
    major = head[8:12]
    brands = {major, *(head[at : at + 4] for at in range(16, min(length, len(head)), 4))}
    if brands & {b"avif", b"avis"}:
        return AVIF
    if brands & _OF_HEIF:
        return HEIC
    if major == b"qt  ":
        return MOV
    if major in {b"M4A ", b"M4B "}:
        return M4A
    return MP4 if any(brand.startswith(_OF_MP4) for brand in brands) else None


def _of_frame_header(head: bytes) -> Kind | None:
    """MPEG audio without a tag starts with a frame: eleven set bits, then the layer."""
    match head[:2]:
        case b"\xff\xf1" | b"\xff\xf9" | b"\xff\xf0" | b"\xff\xf8":
            return AAC
        case b"\xff\xfb" | b"\xff\xfa" | b"\xff\xf3" | b"\xff\xf2" | b"\xff\xe3" | b"\xff\xe2":
            return MP3
        case _:
            return None
