"""Findings about a finished clip: properties or frames that are not as requested."""

from dataclasses import dataclass
from typing import Final

from worker.media.clips import Clip, ClipInspection

LENGTH_TOLERANCE: Final = 0.5
"""The largest difference between a clip's length and the requested one, in seconds."""
ASPECT_TOLERANCE: Final = 0.02

_COMMON_PIXEL_FORMATS: Final = frozenset({"yuv420p", "yuvj420p"})
"""Eight bits a sample and half the color resolution: what every H.264 decoder can show."""
_LONG_SIDE, _SHORT_SIDE = 1920, 1080


@dataclass(frozen=True, slots=True)
class ClipFinding:
    """Something about a clip that a person should check.

    Attributes:
        code: ``codec``, ``length``, ``size``, ``black``, ``frozen`` or ``damaged``.
        message: A sentence for people.
    """

    code: str
    message: str


def property_findings(
    clip: Clip, *, seconds: float | None = None, aspect: str | None = None
) -> tuple[ClipFinding, ...]:
    """Compare the properties of a clip with what was requested, and with what players can show.

    Args:
        clip: The properties of the clip.
        seconds: The requested length; None: any.
        aspect: The requested aspect ratio, such as ``16:9``; None: any.

    Returns:
        What a person should check; empty if there is nothing.
    """
    findings = []
    if clip.codec == "hevc" and clip.codec_tag == "hev1":
        message = "The codec is hevc with the tag hev1, not H.264: many players cannot show it."
        findings.append(ClipFinding("codec", message))
    elif clip.codec != "h264":
        findings.append(ClipFinding("codec", f"The codec is {clip.codec}, not H.264."))
    elif clip.pixel_format not in _COMMON_PIXEL_FORMATS:
        findings.append(
            ClipFinding(
                "codec",
                f"The pixel format is {clip.pixel_format}, not yuv420p: many players cannot "
                "show it.",
            )
        )
    if seconds is not None and abs(clip.seconds - seconds) > LENGTH_TOLERANCE:
        message = f"The clip lasts {clip.seconds:g} s, not {seconds:g} s."
        findings.append(ClipFinding("length", message))
    size = f"The clip has {clip.width} by {clip.height} pixels"
    sides = sorted((clip.width, clip.height))
    if sides[0] > _SHORT_SIDE or sides[1] > _LONG_SIDE:
        findings.append(ClipFinding("size", f"{size}, more than 1080p."))
    if aspect is not None:
        width, height = (int(side) for side in aspect.split(":"))
        if abs(clip.width * height / (clip.height * width) - 1) > ASPECT_TOLERANCE:
            findings.append(ClipFinding("size", f"{size}, not {aspect}."))
    return tuple(findings)


def content_findings(inspection: ClipInspection) -> tuple[ClipFinding, ...]:
    """Return what the frames of a clip show: whether they are black, frozen or damaged."""
    findings = []
    if inspection.is_black:
        findings.append(ClipFinding("black", "The clip is black."))
    if inspection.is_frozen:
        findings.append(ClipFinding("frozen", "Nothing moves in the clip."))
    if inspection.damage:
        message = f"Part of the clip cannot be read: {inspection.damage}."
        findings.append(ClipFinding("damaged", message))
    return tuple(findings)
