"""Lines of an archive (.zip): its images by name, including those in folders.

No file is written under a name from the archive, and each file is read only up to the size that the
archive states for it.
"""

import lzma
import re
import struct
import weakref
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from tasks.manifests.formats.folder_lines import IMAGE_SUFFIXES, LISTED_SUFFIXES, LeftOut
from tasks.manifests.lines import ManifestError, ManifestLine
from tasks.schema.media_keys import is_media_key
from worker.file_refusal import FileRefusedError
from worker.media.refusals import MAX_SOURCE_BYTES

MAX_FILES: Final = 100_000
"""The most files in an archive."""
MAX_DIRECTORY: Final = 16 * 2**20
"""The longest list of files that is read, in bytes. It takes up to ten times as much memory."""
MAX_RATIO: Final = 200
"""How many times its own size an archive may unpack to. Images hardly compress."""
_SMALL: Final = 2**30
"""An archive may unpack to this many bytes whatever its own size."""
_READABLE: Final = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2}
"""Other methods can need gigabytes of memory to unpack a byte."""
_ENCRYPTED: Final = 0x1
_UTF8_NAME: Final = 0x800
_END: Final = struct.Struct("<4s4H2LH")
_END_64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64: Final = struct.Struct("<4sLQL")
_LONGEST_COMMENT: Final = 2**16
_CHUNK: Final = 2**18
_DAMAGE: Final = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError)
_MAKE_AGAIN: Final = "Make the archive again as an ordinary .zip file without a password."
_TABLES: Final = frozenset({".csv", ".tsv", ".jsonl", ".json", ".xlsx", ".ods"})


class ImageArchive:
    """The images in an archive, without hidden files and what macOS adds."""

    def __init__(self, path: Path) -> None:
        """Open an archive.

        Raises:
            ManifestError: It cannot be read, is damaged or too large, or has no images.
        """
        self._path = path
        try:
            _check_directory(path)
            self._archive = zipfile.ZipFile(path)
        except ManifestError:
            raise
        except _DAMAGE as error:
            raise ManifestError(f"{path} is not a .zip file, or is damaged ({error}).") from error
        except (OSError, NotImplementedError) as error:
            raise ManifestError(f"{path} cannot be read: {error}.") from error
        weakref.finalize(self, self._archive.close)
        found = [info for info in self._archive.infolist() if not info.filename.endswith("/")]
        images = [(_name(info), info) for info in found if _is_image(info)]
        self._others = [info for info in found if not _is_image(info)]
        self._images = sorted(images, key=lambda image: image[0])
        self._members = dict(reversed(self._images))
        self._check_bounds(found)

    def _check_bounds(self, found: list[zipfile.ZipInfo]) -> None:
        if len(found) > MAX_FILES:
            raise ManifestError(f"{self._path} holds over {MAX_FILES:,} files: split it.")
        if not self._images:
            table = next((i.filename for i in found if Path(i.filename).suffix in _TABLES), None)
            inside = f" It holds {table}: unpack the archive, and submit that." if table else ""
            raise ManifestError(f"{self._path} has no images ({LISTED_SUFFIXES}).{inside}")
        unpacked = sum(info.file_size for _, info in self._images)
        if unpacked > max(_SMALL, MAX_RATIO * self._path.stat().st_size):
            raise ManifestError(
                f"{self._path} claims to unpack to {unpacked >> 20:,} MB, over {MAX_RATIO} times "
                f"its size. Images do not compress so much: nothing was read."
            )

    def lines(self) -> Iterator[ManifestLine]:
        """Yield the images by name."""
        for number, (name, info) in enumerate(self._images, start=1):
            error = _problem(name, info)
            if self._members[name] is not info:
                error = "the archive has several files of this name"
            if error:
                yield ManifestLine(number, raw=(name,), error=f"image: {name}: {error}")
            else:
                yield ManifestLine(number, {"image": name}, raw=(name,))

    def left_out(self) -> Iterator[LeftOut]:
        """Yield the files that are not images, by name, except hidden files."""
        for info in sorted(self._others, key=lambda other: other.filename):
            if not _is_hidden(info):
                yield LeftOut.not_image(info.filename)

    def fetch(self, name: str, to: Path, *, max_bytes: int) -> None:
        """Unpack the image of a name into a file.

        Raises:
            FileRefusedError: It is damaged or too large, or the disk is full.
        """
        info = self._members[name]
        if info.file_size > max_bytes:
            raise _refused(name, "is too large")
        try:
            # A file that is longer than the archive states is cut: its checksum is then wrong.
            with self._archive.open(info) as member, to.open("wb") as file:
                while chunk := member.read(_CHUNK):
                    file.write(chunk)
        except (*_DAMAGE, NotImplementedError, RuntimeError) as error:
            raise _refused(name, f"is damaged ({error})") from error
        except OSError as error:
            raise FileRefusedError(
                "source_unreachable",
                f"{name} cannot be unpacked: {error.strerror}.",
                "Make room in the folder for temporary files, or name another one in TMPDIR.",
            ) from error


def _refused(name: str, problem: str) -> FileRefusedError:
    return FileRefusedError("bad_image", f"{name} {problem} in the archive.", _MAKE_AGAIN)


def _problem(name: str, info: zipfile.ZipInfo) -> str:
    """Return why a file cannot be used; empty if nothing is wrong so far."""
    if info.flag_bits & _ENCRYPTED:
        return f"it is encrypted. {_MAKE_AGAIN}"
    if info.compress_type not in _READABLE:
        return f"it is compressed by another method than .zip files usually have. {_MAKE_AGAIN}"
    if info.file_size > MAX_SOURCE_BYTES:
        return f"it has over {MAX_SOURCE_BYTES // 10**6} MB"
    if is_media_key(name):
        return "its name has the form of a key in the media store: rename it"
    return ""


def _is_image(info: zipfile.ZipInfo) -> bool:
    kind = PurePosixPath(info.filename.replace("\\", "/")).suffix.lower()
    return kind in IMAGE_SUFFIXES and not _is_hidden(info)


def _is_hidden(info: zipfile.ZipInfo) -> bool:
    parts = set(re.split(r"[/\\]", info.filename)) - {".", ".."}
    return "__MACOSX" in parts or any(part.startswith(".") for part in parts)


def _name(info: zipfile.ZipInfo) -> str:
    """Return the name of a file for people: relative, and without steps to other folders."""
    name = info.filename
    if not info.flag_bits & _UTF8_NAME:
        # macOS writes UTF-8 without the flag for it.
        try:
            name = name.encode("cp437").decode()
        except UnicodeError:
            name = info.filename
    return "/".join(part for part in re.split(r"[/\\]", name) if part not in {"", ".", ".."})


def _check_directory(path: Path) -> None:
    """Check how long the list of files is, before it is read into memory.

    Source: APPNOTE.TXT of PKWARE, 4.3.14 to 4.3.16.

    Raises:
        ManifestError: The list is too long.
        ValueError: There is no list.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        start = max(0, size - _END.size - _LONGEST_COMMENT)
        file.seek(start)
        tail = file.read()
        at = tail.rfind(b"PK\5\6")
        if at < 0 or len(tail) < at + _END.size:
            raise ValueError("its end is missing")
        length = _END.unpack_from(tail, at)[5]
        before = start + at - _LOCATOR_64.size
        file.seek(max(0, before))
        found = file.read(_LOCATOR_64.size)
        if before >= 0 and found.startswith(b"PK\6\7"):
            length %= 0xFFFFFFFF
            # Readers differ in where they look for the record of a large archive.
            for place in (_LOCATOR_64.unpack(found)[2], before - _END_64.size):
                file.seek(max(0, min(size, place)))
                end = file.read(_END_64.size)
                if end.startswith(b"PK\6\6") and len(end) == _END_64.size:
                    length = max(length, _END_64.unpack(end)[8])
    if length > min(size, MAX_DIRECTORY):
        raise ManifestError(
            f"{path} claims to hold a list of files of {length:,} bytes, which is damaged or too "
            f"long. Split the archive."
        )
