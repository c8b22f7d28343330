"""Lengths of clips that a prompt states."""

import re
from typing import Final

_LENGTH: Final = re.compile(
    r"(?<![\w.])(\d+(?:\.\d+)?)(?:[\s-]*(?:seconds?|secs?)\b|\s*秒)", re.IGNORECASE
)


def stated_lengths(prompt: str) -> frozenset[float]:
    """Return the lengths in seconds that a prompt states, such as "a 5-second push-in".

    "90s retro look" states none.
    """
    return frozenset(float(found) for found in _LENGTH.findall(prompt))
