"""Converts gray images with more than eight bits a pixel to eight bits."""

import math
from collections.abc import Iterable
from typing import Final

from PIL import Image, ImageOps
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile

_MAX_SAMPLE_VALUE: Final = 281
_NO_DATA: Final = 42113
"""GDAL's tag for the value that stands for "no data", as a text."""
_SIXTEEN_BITS: Final = 2**16 - 1
_NARROW: Final = (2**10 - 1, 2**12 - 1)
_SAMPLE: Final = (512, 512)
_USABLE: Final = 1e30
"""Numbers from this one on stand for "no data"."""
_GAP: Final = 3
"""A value stands for "no data" if it is farther away from all others than this many times their
range."""


def is_deep(image: Image.Image) -> bool:
    """Return whether an image is gray with more than eight bits a pixel."""
    return image.mode.startswith("I") or image.mode == "F"


def to_eight_bits(image: Image.Image) -> Image.Image:
    """Map the range of a deep gray image to 0 to 255.

    The range of sixteen-bit integers begins at 0. That of other numbers is the range of the values.
    """
    if image.mode.startswith("I;16"):
        low, high = 0.0, _highest(image)
        wide = image.convert("I")
    else:
        low, high = _range(image)
        wide = image.convert("F")
    scale = 255 / ((high - low) or 1)
    # Converting clips values outside of 0 to 255.
    narrow = wide.point(lambda value: value * scale - low * scale).convert("L")
    return ImageOps.invert(narrow) if _tag(image, PHOTOMETRIC_INTERPRETATION) == 0 else narrow


def _tag(image: Image.Image, tag: int) -> object:
    found = image.tag_v2.get(tag) if isinstance(image, TiffImageFile) else None
    return found[0] if isinstance(found, tuple) and found else found


def _highest(image: Image.Image) -> float:
    """Return the value of white: cameras and scanners use 10, 12 or 14 of sixteen bits."""
    for found in (_tag(image, _MAX_SAMPLE_VALUE), _bits(image)):
        if isinstance(found, int) and 0 < found < _SIXTEEN_BITS:
            return float(found)
    # Some cameras use 10 or 12 bits without stating it. In a range of sixteen bits, their pictures
    # would be nearly black.
    brightest = int(str(image.convert("I").getextrema()[1]))
    return float(next((white for white in _NARROW if brightest <= white), _SIXTEEN_BITS))


def _bits(image: Image.Image) -> int:
    bits = _tag(image, BITSPERSAMPLE)
    return 2**bits - 1 if isinstance(bits, int) and 0 < bits <= 16 else 0  # noqa: PLR2004 -- bits


def _range(image: Image.Image) -> tuple[float, float]:
    """Return the darkest and the lightest value, without those that stand for "no data"."""
    sample = image.convert("F")
    sample = sample.resize(
        (min(sample.width, _SAMPLE[0]), min(sample.height, _SAMPLE[1])), Image.Resampling.NEAREST
    )
    values = sorted(_usable(memoryview(sample.tobytes()).cast("f"), _no_data(image)))
    if not values:
        return 0.0, 1.0
    darkest = -_highest_with_data([-value for value in reversed(values)])
    return darkest, _highest_with_data(values)


def _no_data(image: Image.Image) -> float:
    try:
        return float(str(_tag(image, _NO_DATA)).strip(" \0"))
    except ValueError:
        return math.nan


def _usable(values: Iterable[float], no_data: float) -> Iterable[float]:
    return (
        value
        for value in values
        if abs(value) < _USABLE and not math.isclose(value, no_data, rel_tol=1e-6)
    )


def _highest_with_data(values: list[float]) -> float:
    """Return the highest of sorted values, or the next if it is far from all others (65535)."""
    highest = values[-1]
    others = [value for value in values if value < highest]
    if not others or others[0] == others[-1]:
        return highest
    is_far = highest - others[-1] > _GAP * (others[-1] - others[0])
    return others[-1] if is_far else highest
