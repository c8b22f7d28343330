"""The title of a clip: white letters with a soft shadow, faded in and out."""

from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFilter, ImageFont

# Limited-range video levels (ITU-R BT.709): black, white, and neutral chroma.
_BLACK, _WHITE, _NEUTRAL = 16, 235, 128
_FADE_SECONDS = 0.6
_LATIN_END = 0x250
_SMALLEST_FONT = 8


@dataclass(frozen=True, slots=True)
class Caption:
    """A drawn title: its corner in even pixels, and the opacity of its letters and its shadow."""

    left: int
    top: int
    letters: Image.Image
    shadow: Image.Image

    def draw_on(self, planes: tuple[Image.Image, ...], opacity: float) -> None:
        """Blend the title into the three planes of a 4:2:0 frame, in place."""
        luma, *chroma = planes
        letters = self.letters.point([round(level * opacity) for level in range(256)])
        shadow = self.shadow.point([round(level * opacity) for level in range(256)])
        luma.paste(_BLACK, (self.left, self.top), shadow)
        luma.paste(_WHITE, (self.left, self.top), letters)
        half = letters.reduce(2)
        for plane in chroma:
            plane.paste(_NEUTRAL, (self.left // 2, self.top // 2), half)


def can_draw(text: str) -> bool:
    """Return whether the built-in font has the letters of a text."""
    return bool(text.strip()) and all(ord(letter) < _LATIN_END for letter in text)


def make_caption(text: str, width: int, height: int) -> Caption:
    """Draw a title of Latin letters for the lower third of a frame.

    Args:
        text: The title. It takes at most nine tenths of the frame's width.
        width: The frame's width in pixels.
        height: The frame's height in pixels.
    """
    short = min(width, height)
    font = _font_within(text, max(_SMALLEST_FONT, round(short * 0.085)), width * 0.9)
    box = font.getbbox(text)
    margin = max(4, round(short * 0.03) // 2 * 2)
    size = (
        min(width, _even(box[2] - box[0]) + 2 * margin),
        min(height, _even(box[3] - box[1]) + 2 * margin),
    )
    letters = Image.new("L", size, 0)
    ImageDraw.Draw(letters).text((margin - box[0], margin - box[1]), text, fill=255, font=font)
    shadow = letters.filter(ImageFilter.GaussianBlur(margin / 4))
    shadow = shadow.point([min(200, level * 2) for level in range(256)])
    left = (width - size[0]) // 4 * 2
    top = min(height - size[1], round(height * 0.76)) // 2 * 2
    return Caption(left, top, letters, shadow)


def opacity_at(moment: float, shown: float) -> float:
    """Return the opacity (0-1) of a title, which fades in and out.

    Args:
        moment: Seconds since the start of the clip.
        shown: Seconds for which the title is shown.
    """
    fade = min(_FADE_SECONDS, shown / 3)
    return max(0.0, min(1.0, moment / fade, (shown - moment) / fade))


def _font_within(
    text: str, size: int, widest: float
) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    font = ImageFont.load_default(size)
    length = font.getlength(text)
    if length <= widest:
        return font
    return ImageFont.load_default(max(_SMALLEST_FONT, int(size * widest / length)))


def _even(length: float) -> int:
    return -(-int(length + 1) // 2) * 2
