"""Suggestions for better clips, for rows whose prompt or image calls for them.

Source: docs/video-api.md, "Images and prompts". Specific instructions work better, and clear
subjects with high contrast move more smoothly.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from tasks.schema.clip_names import image_name

FEW_WORDS: Final = 4
"""A prompt with fewer words is vague: it hardly says what moves, and how."""
LOW_CONTRAST: Final = 60.0
"""Contrast below which an image gets a suggestion, in levels of 255 between dark and light."""

SMALL_SIDE: Final = 480
"""A shorter side in pixels below which an image gets a suggestion: clips have up to 1080."""

SOON: Final = timedelta(days=1)
"""An address that expires within this time may do so while its row waits in the queue."""

_MAX_LISTED: Final = 5
_EMPTY_WORDS: Final = frozenset(
    {
        *("a", "an", "and", "animate", "animated", "animation", "clip", "cool", "do", "film"),
        *("fun", "good", "great", "image", "into", "it", "make", "move", "movement", "moving"),
        *("nice", "of", "photo", "picture", "please", "some", "something", "the", "this", "to"),
        *("video", "with"),
    }
)


def is_vague(prompt: str) -> bool:
    """Return whether a prompt leaves nearly everything to the agent."""
    words = re.findall(r"\w+", prompt.lower())
    # Scripts without spaces between words count as a word per two characters.
    count = sum(1 if word.isascii() else max(1, len(word) // 2) for word in words)
    return count < FEW_WORDS or not set(words) - _EMPTY_WORDS


@dataclass(slots=True)
class RowList:
    """The rows that a suggestion is about: their number, and the first of them."""

    count: int = 0
    first: list[str] = field(default_factory=list)
    _last: int = 0

    def add(self, number: int, image: str = "") -> None:
        """Add a row, which is counted once for all of its aspects.

        Args:
            number: The number of the row.
            image: The name of its image, if the suggestion is about the image.
        """
        if number == self._last:
            return
        self._last = number
        self.count += 1
        if len(self.first) < _MAX_LISTED:
            self.first.append(" ".join(filter(None, (str(number), image_name(image)))))

    def __str__(self) -> str:
        """Return the rows as the subject of a sentence."""
        more = ", …" if self.count > len(self.first) else ""
        word = "row" if self.count == 1 else "rows"
        return f"{self.count} {word} ({', '.join(self.first)}{more})"


@dataclass(slots=True)
class Observations:
    """Rows of a manifest that call for suggestions."""

    vague: RowList = field(default_factory=RowList)
    low_contrast: RowList = field(default_factory=RowList)
    by_address: RowList = field(default_factory=RowList)
    private: RowList = field(default_factory=RowList)
    very_small: RowList = field(default_factory=RowList)
    other_length: RowList = field(default_factory=RowList)
    expiring: RowList = field(default_factory=RowList)
    first_expiry: datetime | None = None

    def add_expiry(self, number: int, at: datetime) -> None:
        """Add a row with an address that expires at a time, if that is soon or has passed."""
        if at - datetime.now(UTC) < SOON:
            self.expiring.add(number)
            self.first_expiry = min(self.first_expiry or at, at)

    def suggestions(self) -> Iterator[str]:
        """Yield a suggestion for each kind of observation."""
        if self.vague.count:
            yield (
                f"{self.vague}: the prompt is short or vague. Specific instructions work better: "
                f'say what moves, how, and for how long, as in "slow push-in on the cup, steam '
                f'rises, 6 seconds".'
            )
        if self.other_length.count:
            yield (
                f"{self.other_length}: the prompt states another length than the field seconds. "
                f"The prompt is sent as written, and the field is added to it."
            )
        if self.low_contrast.count:
            yield (
                f"{self.low_contrast}: the image has little contrast. Clear subjects with high "
                f"contrast move more smoothly."
            )
        if self.very_small.count:
            yield (
                f"{self.very_small}: the image is very small, under {SMALL_SIDE} pixels on its "
                f"shorter side. A clip of it is blurred: use a larger copy."
            )
        if self.expiring.count:
            yield (
                f"{self.expiring}: the signed address expires soon, the first at "
                f"{self.first_expiry:%Y-%m-%d %H:%M} UTC. A row that is still waiting then fails: "
                f"sign the addresses for longer than the batch may take, or submit files."
            )
        if self.private.count:
            yield (
                f"{self.private}: an address is private, such as localhost. The job fails as "
                f"forbidden_source, unless the setting REELQUEUE_PRIVATE_HOSTS of the workers "
                f"names its host."
            )
        if self.by_address.count:
            yield (
                f"{self.by_address}: the image is a web address. It is checked when a worker "
                f"downloads it, not now."
            )
