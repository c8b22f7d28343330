"""Refuses camera raw files, and selects the page of a TIFF file that is the picture."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from PIL.TiffImagePlugin import (
    COMPRESSION,
    IMAGELENGTH,
    IMAGEWIDTH,
    PHOTOMETRIC_INTERPRETATION,
    SUBIFD,
    ImageFileDirectory_v2,
    TiffImageFile,
)

from worker.file_refusal import FileRefusedError

_HEADER: Final = 8
_MAX_PAGES: Final = 64
_NEW_SUBFILE_TYPE: Final = 254
_REDUCED, _MASK = 1, 4
_DNG_VERSION: Final = 50706
_SENSOR_DATA: Final = frozenset({32803, 34892})
"""Photometric interpretations of raw data: color filter array, and linear raw."""
_RAW_COMPRESSIONS: Final = frozenset({32767, 32769, 34713, 65000, 65535})
"""Compressions of the raw data of Sony, Epson, Nikon, Kodak and Pentax."""
_THUMBNAIL: Final = 4
"""A page with this many times fewer pixels than the largest one is its thumbnail."""


def refuse_camera_raw(source: Path, name: str) -> None:
    """Refuse a camera raw file, of which a decoder would read only the thumbnail.

    Raises:
        FileRefusedError: It is a DNG, NEF, CR2, ARW or similar file.
    """
    with source.open("rb") as file:
        is_raw = _is_camera_raw(file)
    if is_raw:
        raise FileRefusedError(
            "unsupported_file",
            f"{name} is a camera raw file: it holds the raw data of a sensor, and only a small "
            "preview image.",
            "Develop it in a photo program, export it as JPEG, and submit that file.",
        )


def _is_camera_raw(file: BinaryIO) -> bool:
    head = file.read(_HEADER + 2)
    if head[_HEADER:] == b"CR" and head.startswith(b"II*\0"):
        return True
    try:
        return any(map(_holds_sensor_data, _directories(file, head[:_HEADER])))
    except Exception:  # noqa: BLE001 -- a damaged file is refused when it is decoded
        return False


def _holds_sensor_data(page: ImageFileDirectory_v2) -> bool:
    return (
        _DNG_VERSION in page
        or page.get(PHOTOMETRIC_INTERPRETATION) in _SENSOR_DATA
        or page.get(COMPRESSION) in _RAW_COMPRESSIONS
    )


def _directories(file: BinaryIO, head: bytes) -> Iterator[ImageFileDirectory_v2]:
    """Yield the directories of a TIFF file, those of sub-images included."""
    offsets, seen = [ImageFileDirectory_v2(head).next], set[int]()
    while offsets and len(seen) < _MAX_PAGES:
        offset = offsets.pop(0)
        if not offset or offset in seen:
            continue
        seen.add(offset)
        page = ImageFileDirectory_v2(head)
        file.seek(offset)
        page.load(file)
        yield page
        inner = page.get(SUBIFD, ())
        offsets += [page.next, *(inner if isinstance(inner, tuple) else (inner,))]


def seek_picture(image: TiffImageFile) -> None:
    """Go to the page that is the picture: the first, or the largest if that is a thumbnail."""
    count = min(image.n_frames, _MAX_PAGES)
    if count == 1:
        return
    sizes = []
    for number in range(count):
        image.seek(number)
        kind = int(image.tag_v2.get(_NEW_SUBFILE_TYPE, 0))
        pixels = int(image.tag_v2[IMAGEWIDTH]) * int(image.tag_v2[IMAGELENGTH])
        sizes.append((0 if kind & (_REDUCED | _MASK) else pixels, pixels))
    largest = max(range(count), key=lambda number: sizes[number])
    is_thumbnail = sizes[0][0] == 0 or sizes[0][1] * _THUMBNAIL < sizes[largest][1]
    image.seek(largest if is_thumbnail else 0)
