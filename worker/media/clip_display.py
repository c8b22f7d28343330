"""The size and orientation in which a player shows the frames of a clip."""

import struct
from fractions import Fraction
from typing import Final

from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame
from PIL import Image

_MAX_PIXEL_ASPECT: Final = 8
"""A pixel aspect ratio beyond this, which no camera produces, is ignored."""
_MATRIX: Final = struct.Struct("=9i")
"""A display matrix, in the order of ISO/IEC 14496-12 section 6.2.2: a, b, u, c, d, v, x, y, w."""
_TRANSPOSITIONS: Final = {
    (0, 1, -1, 0): Image.Transpose.ROTATE_270,
    (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (0, -1, 1, 0): Image.Transpose.ROTATE_90,
    (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM,
    (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
}
"""How a player turns or mirrors a frame, by the signs of a, b, c and d."""
_SWAPS_SIDES: Final = frozenset(
    {
        Image.Transpose.ROTATE_90,
        Image.Transpose.ROTATE_270,
        Image.Transpose.TRANSPOSE,
        Image.Transpose.TRANSVERSE,
    }
)


def display_size(frame: VideoFrame, pixel_aspect: Fraction | None) -> tuple[int, int]:
    """Return the width and height of a frame as a player shows it.

    Args:
        frame: The frame.
        pixel_aspect: Width by height of a pixel; None or 0: square.
    """
    width, height = frame.width, frame.height
    pixel = pixel_aspect or Fraction(1)
    if 1 < pixel <= _MAX_PIXEL_ASPECT:
        width = round(width * pixel)
    elif Fraction(1, _MAX_PIXEL_ASPECT) <= pixel < 1:
        height = round(height / pixel)
    return (height, width) if _transposition(frame) in _SWAPS_SIDES else (width, height)


def to_image(frame: VideoFrame, size: tuple[int, int]) -> Image.Image:
    """Return a frame as an image of a size, turned and mirrored as a player shows it."""
    turn = _transposition(frame)
    width, height = reversed(size) if turn in _SWAPS_SIDES else size
    # Starting more threads costs more than they save. "AREA" costs less than the usual filter,
    # and a smaller copy shows no difference.
    scaled = frame.reformat(width, height, "rgb24", interpolation="AREA", threads=1)
    plane = scaled.planes[0]
    pixels = bytes(memoryview(plane))
    image = Image.frombuffer("RGB", (width, height), pixels, "raw", "RGB", plane.line_size, 1)
    return image if turn is None else image.transpose(turn)


def _transposition(frame: VideoFrame) -> Image.Transpose | None:
    """Return how a player turns or mirrors a frame before it shows it; None: not at all."""
    # `frame.side_data` would make a reference cycle with the frame. The garbage collector counts
    # objects and not their bytes, so it would leave the frames of thousands of clips in memory.
    found = SideDataContainer(frame)  # type: ignore[call-arg]  # which PyAV's stubs lack
    if SideDataType.DISPLAYMATRIX not in found:
        return None
    data = found[SideDataType.DISPLAYMATRIX]
    if data.buffer_size < _MATRIX.size:
        return None
    a, b, _, c, d, *_ = _MATRIX.unpack_from(bytes(data))
    a, b, c, d = ((value > 0) - (value < 0) for value in (a, b, c, d))
    return _TRANSPOSITIONS.get((a, b, c, d))
