"""The text of a job's paid message, built from its payload."""

import re
from collections.abc import Mapping
from typing import Any, Final

from tasks.schema.image_job import DEFAULT_PROMPT, DEFAULT_PROMPT_WITHOUT_LENGTH

_LENGTH: Final = re.compile(
    r"(?<![\w.])(\d+(?:\.\d+)?)(?:[\s-]*(?:seconds?|secs?)\b|\s*秒)", re.IGNORECASE
)


def instructions(payload: Mapping[str, Any], attached: str = "", picture: str = "") -> str:
    """Build the job's instructions: the prompt, then the length, aspect ratio and files.

    Args:
        payload: The job's payload.
        attached: The attached files, and what each is for.
        picture: The picture to work on, if its session contains others too.
    """
    prompt, seconds = str(payload["prompt"]).strip(), payload.get("seconds")
    parts = []
    if picture:
        parts.append(f"Work with {picture} only; the timeline holds no clip of another picture.")
    if seconds is not None:
        # The default prompt states a length, which the caller has not chosen.
        prompt = DEFAULT_PROMPT_WITHOUT_LENGTH if prompt == DEFAULT_PROMPT else prompt
        if stated_lengths(prompt) != {float(seconds)}:
            parts.append(f"Make it a {seconds:g}-second video.")
    if payload.get("aspect"):
        parts.append(f"Aspect ratio {payload['aspect']}.")
    if attached:
        parts.append(f"Use the attached files: {attached}.")
    if prompt and prompt[-1] not in ".!?。！？":
        prompt += "."
    return " ".join([prompt, *parts]).strip()


def answer(payload: Mapping[str, Any], attached: str = "", picture: str = "") -> str:
    """Build the answer to a question of the agent: the instructions, and a request to decide."""
    return (
        f"{instructions(payload, attached, picture)} Please decide everything that is not said "
        f"here yourself, and make the video now without asking again."
    )


def stated_lengths(prompt: str) -> frozenset[float]:
    """Return the lengths in seconds that a prompt states, such as "a 5-second push-in".

    "90s retro look" states none.
    """
    return frozenset(float(found) for found in _LENGTH.findall(prompt))
