"""The text of a job's paid message, built from its payload."""

import re
from collections.abc import Mapping
from typing import Any, Final

_LENGTH: Final = re.compile(r"\b\d+(?:\.\d+)?[\s-]*(?:seconds?|secs?|s)\b", re.IGNORECASE)


def instructions(payload: Mapping[str, Any], attached: str = "", picture: str = "") -> str:
    """Build the job's instructions: prompt, length, aspect and files, each stated once.

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
        length = f"{seconds:g}-second"
        if _LENGTH.search(prompt):
            prompt = _LENGTH.sub(length, prompt)
        else:
            parts.append(f"Make it a {length} video.")
    if payload.get("aspect"):
        parts.append(f"Aspect ratio {payload['aspect']}.")
    if attached:
        parts.append(f"Use the attached files: {attached}.")
    if prompt and prompt[-1] not in ".!?。！？":
        prompt += "."
    return " ".join([prompt, *parts]).strip()


def answer(payload: Mapping[str, Any], attached: str = "", picture: str = "") -> str:
    """Build the answer to the agent's question: the instructions again, and leave to decide."""
    return (
        f"{instructions(payload, attached, picture)} Please decide everything that is not said "
        f"here yourself, and make the video now without asking again."
    )
