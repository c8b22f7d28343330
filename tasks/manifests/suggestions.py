"""Hints for better clips, where a prompt or a picture calls for them.

Source: the founding document: specific instructions work better, and clear subjects with high
contrast move more smoothly.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

FEW_WORDS: Final = 4
"""Fewer words than this say hardly what is to move, and how."""
LOW_CONTRAST: Final = 60.0
"""Levels of 255 between the darker and the lighter parts of a picture."""

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
    """Whether a prompt leaves nearly everything to the agent."""
    words = re.findall(r"\w+", prompt.lower())
    # Scripts that part no words are counted by their signs.
    said = sum(1 if word.isascii() else max(1, len(word) // 2) for word in words)
    return said < FEW_WORDS or not set(words) - _EMPTY_WORDS


@dataclass(slots=True)
class RowList:
    """Rows that a hint is about: all counted, the first of them named."""

    count: int = 0
    first: list[int] = field(default_factory=list)

    def add(self, number: int) -> None:
        """Count one row."""
        self.count += 1
        if len(self.first) < _MAX_LISTED:
            self.first.append(number)

    def __str__(self) -> str:
        """As it stands in a sentence."""
        more = ", …" if self.count > len(self.first) else ""
        word = "row" if self.count == 1 else "rows"
        return f"{self.count} {word} ({', '.join(map(str, self.first))}{more})"


@dataclass(slots=True)
class Observations:
    """What was seen in the rows of a manifest."""

    vague: RowList = field(default_factory=RowList)
    low_contrast: RowList = field(default_factory=RowList)
    by_address: RowList = field(default_factory=RowList)

    def suggestions(self) -> Iterator[str]:
        """One sentence for each thing that was seen."""
        if self.vague.count:
            yield (
                f"{self.vague}: the prompt is short or vague. Specific instructions work better: "
                f"say what moves, how, and for how long, as in «slow push-in on the cup, steam "
                f"rises, 6 seconds»."
            )
        if self.low_contrast.count:
            yield (
                f"{self.low_contrast}: the picture has little contrast. Clear subjects with high "
                f"contrast move more smoothly."
            )
        if self.by_address.count:
            yield (
                f"{self.by_address}: the picture is a web address, which is looked at when it is "
                f"fetched, not now."
            )
