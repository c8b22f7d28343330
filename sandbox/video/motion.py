"""Reads the requested clip from a prompt, and computes the path of the camera."""

import re
from dataclasses import dataclass, replace
from enum import StrEnum

DEFAULT_SECONDS = 10.0
SHORTEST_SECONDS = 1.0
LONGEST_SECONDS = 60.0

# A zoom goes from 1 to this factor; a pan moves over the same share of the frame.
TRAVEL = 1.15


class Motion(StrEnum):
    """A camera movement over a still picture."""

    PUSH_IN = "push-in"
    PULL_OUT = "pull-out"
    PAN_LEFT = "pan-left"
    PAN_RIGHT = "pan-right"
    PAN_UP = "pan-up"
    PAN_DOWN = "pan-down"


class Aspect(StrEnum):
    """The aspect ratio of a frame."""

    LANDSCAPE = "16:9"
    PORTRAIT = "9:16"
    SQUARE = "1:1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipRequest:
    """The properties of a clip that a prompt requests; None if it does not mention one."""

    seconds: float | None = None
    aspect: Aspect | None = None
    motion: Motion | None = None
    title: str | None = None

    def with_defaults(self, earlier: "ClipRequest") -> "ClipRequest":
        """Return this request, with the values of an earlier one where it has none."""
        return replace(
            self,
            seconds=self.seconds or earlier.seconds,
            aspect=self.aspect or earlier.aspect,
            motion=self.motion or earlier.motion,
            title=self.title or earlier.title,
        )


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the picture that fills the frame, in shares (0-1) of the picture's sides."""

    left: float
    top: float
    width: float
    height: float


_SECONDS = re.compile(r"(\d+(?:\.\d+)?)\s*-?\s*(?:seconds?\b|secs?\b|s\b|秒)", re.IGNORECASE)
_TITLE = re.compile(
    r"(?:\btitled?\b|标题)\W{0,3}?(?:is|of|为|是)?\s*[:：]?\s*"
    r"[\"'“‘「《]([^\"”’」》]{1,80}?)[\"'”’」》]",
    re.IGNORECASE,
)
_ASPECTS = (
    (
        re.compile(r"(?<!\d)16\s*[:x]\s*9(?!\d)|landscape|widescreen|横屏", re.IGNORECASE),
        Aspect.LANDSCAPE,
    ),
    (
        re.compile(r"(?<!\d)9\s*[:x]\s*16(?!\d)|portrait|vertical|竖屏", re.IGNORECASE),
        Aspect.PORTRAIT,
    ),
    (re.compile(r"(?<!\d)1\s*[:x]\s*1(?!\d)|\bsquare\b|方形", re.IGNORECASE), Aspect.SQUARE),
)
_MOTIONS = (
    (
        re.compile(r"pull[\s-]*(?:out|back)|zoom(?:ing)?[\s-]*out|拉远", re.IGNORECASE),
        Motion.PULL_OUT,
    ),
    (re.compile(r"push[\s-]*in|zoom(?:ing)?[\s-]*in|推近", re.IGNORECASE), Motion.PUSH_IN),
    (
        re.compile(r"(?:pan|drift|slide)\w*\s+(?:to\s+the\s+)?left|左移", re.IGNORECASE),
        Motion.PAN_LEFT,
    ),
    (
        re.compile(r"(?:pan|drift|slide)\w*\s+(?:to\s+the\s+)?right|右移", re.IGNORECASE),
        Motion.PAN_RIGHT,
    ),
    (re.compile(r"(?:pan|tilt|rise)\w*\s+up|上移", re.IGNORECASE), Motion.PAN_UP),
    (re.compile(r"(?:pan|tilt)\w*\s+down|下移", re.IGNORECASE), Motion.PAN_DOWN),
)


def parse_prompt(text: str) -> ClipRequest:
    """Read duration (clamped to 1-60 seconds), aspect ratio, camera movement and title of a prompt.

    English and Chinese prompts are understood.
    """
    # If several lengths are stated, the last one counts.
    seconds = _SECONDS.findall(text)[-1:]
    title = _TITLE.search(text)
    return ClipRequest(
        seconds=(
            min(LONGEST_SECONDS, max(SHORTEST_SECONDS, float(seconds[0]))) if seconds else None
        ),
        aspect=next((aspect for pattern, aspect in _ASPECTS if pattern.search(text)), None),
        motion=next((motion for pattern, motion in _MOTIONS if pattern.search(text)), None),
        title=title[1].strip() if title else None,
    )


def smoothstep(share: float) -> float:
    """Ease a share (0-1) of the time, so that the camera starts and ends at rest."""
    return share * share * (3.0 - 2.0 * share)


def window_at(motion: Motion, share: float) -> Window:
    """Return the part of the picture that is shown at a share (0-1) of the clip's duration.

    The picture has the frame's aspect ratio, and so has the window. Its edges are not rounded to
    pixels, which would make the movement jitter.
    """
    eased = smoothstep(share)
    narrow = 1.0 / TRAVEL
    slack = 1.0 - narrow
    match motion:
        case Motion.PUSH_IN | Motion.PULL_OUT:
            depth = eased if motion is Motion.PUSH_IN else 1.0 - eased
            # A zoom by a constant factor per frame looks even; one by a constant step does not.
            side = TRAVEL**-depth
            return Window((1.0 - side) * 0.5, (1.0 - side) * 0.46, side, side)
        case Motion.PAN_RIGHT:
            return Window(slack * eased, slack * 0.5, narrow, narrow)
        case Motion.PAN_LEFT:
            return Window(slack * (1.0 - eased), slack * 0.5, narrow, narrow)
        case Motion.PAN_DOWN:
            return Window(slack * 0.5, slack * eased, narrow, narrow)
        case Motion.PAN_UP:
            return Window(slack * 0.5, slack * (1.0 - eased), narrow, narrow)
