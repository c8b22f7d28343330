"""Reads the picture of a clip, turns it upright, and fits it to the frame."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from sandbox.video.motion import Aspect

# If the aspect ratios differ by more than this factor, a crop would lose the subject: the whole
# picture is shown over a blurred copy instead.
_CROP_LIMIT = 1.6
_LANDSCAPE_FROM = 1.25
_PORTRAIT_BELOW = 0.8
# The blurred background is made at this fraction of the size, since it shows no detail.
_BLUR_SCALE = 8


def open_picture(path: Path, longest: int) -> Image.Image:
    """Read a picture, turn it upright, flatten transparency, and convert it to RGB.

    Args:
        path: The uploaded file.
        longest: Pixels that the longest side must keep; larger JPEG files are reduced on loading.

    Raises:
        OSError: The file is not a picture that can be decoded.
    """
    try:
        with Image.open(path) as source:
            source.draft("RGB", (longest, longest))
            return _flat(ImageOps.exif_transpose(source))
    except (SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise OSError("the picture cannot be decoded") from error


def blank_picture(width: int, height: int) -> Image.Image:
    """Return a gradient for a session without a picture."""
    column = Image.linear_gradient("L").resize((width, height), Image.Resampling.BICUBIC)
    return ImageOps.colorize(column, (24, 32, 58), (214, 140, 112))


def natural_aspect(width: int, height: int) -> Aspect:
    """Return the aspect ratio that suits a picture of this size best."""
    ratio = width / height
    if ratio < _PORTRAIT_BELOW:
        return Aspect.PORTRAIT
    return Aspect.SQUARE if ratio < _LANDSCAPE_FROM else Aspect.LANDSCAPE


def fit(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Fit an RGB picture to a frame of a size in pixels without stretching it.

    The picture is cropped; if its aspect ratio is far from the frame's, the whole picture is
    placed on a blurred copy of itself.
    """
    mismatch = (picture.width / picture.height) / (width / height)
    size = (width, height)
    if 1 / _CROP_LIMIT <= mismatch <= _CROP_LIMIT:
        return ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
    ground = _blurred(picture, size)
    whole = ImageOps.contain(picture, size, Image.Resampling.LANCZOS)
    corner = ((width - whole.width) // 2, (height - whole.height) // 2)
    ground.paste((0, 0, 0), (0, 0), _shadow(size, corner, whole.size))
    ground.paste(whole, corner)
    return ground


def _flat(picture: Image.Image) -> Image.Image:
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    flat = Image.new("RGBA", picture.size, (16, 18, 22, 255))
    flat.alpha_composite(picture.convert("RGBA"))
    return flat.convert("RGB")


def _blurred(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    small = (max(2, size[0] // _BLUR_SCALE), max(2, size[1] // _BLUR_SCALE))
    cover = ImageOps.fit(picture, small, Image.Resampling.BILINEAR)
    soft = cover.filter(ImageFilter.GaussianBlur(max(small) / 24))
    return ImageEnhance.Brightness(soft.resize(size, Image.Resampling.BICUBIC)).enhance(0.62)


def _shadow(size: tuple[int, int], corner: tuple[int, int], whole: tuple[int, int]) -> Image.Image:
    small = (max(2, size[0] // _BLUR_SCALE), max(2, size[1] // _BLUR_SCALE))
    mask = Image.new("L", small, 0)
    left, top = corner[0] / _BLUR_SCALE, corner[1] / _BLUR_SCALE
    box = (left, top, left + whole[0] / _BLUR_SCALE, top + whole[1] / _BLUR_SCALE)
    ImageDraw.Draw(mask).rectangle(box, fill=120)
    soft = mask.filter(ImageFilter.GaussianBlur(max(small) / 60))
    return soft.resize(size, Image.Resampling.BICUBIC)
