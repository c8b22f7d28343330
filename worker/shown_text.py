"""Characters that no shown text may contain, because they change how a text is displayed.

Control characters forge lines and operate terminals; some format characters reorder the letters
after them, or hide letters. The spaces and joiners of all scripts are allowed: macOS writes a
narrow space into the names of screenshots, and Persian words and emoji need joiners.
"""

import re
from typing import Final

_HARMFUL: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f"
    "\u2028\u2029"  # line and paragraph separator
    "\u202a-\u202e\u2066-\u2069"  # embeddings, overrides and isolates of a direction
    "\u206a-\u206f\ufff9-\ufffb"  # deprecated controls, and annotations
    "\U000e0000-\U000e007f"  # invisible letters
    "\ud800-\udfff]"  # unpaired surrogates, which stand for bytes that are not UTF-8
)
_FLAG: Final = re.compile("\U0001f3f4[\U000e0020-\U000e007e]{1,8}\U000e007f")
"""The flag of a part of a country, such as Scotland: a black flag and invisible letters."""
_LINE_SPACE: Final = re.compile("[ \t-\r\x85\u2028\u2029]+")


def is_showable(text: str) -> bool:
    """Return whether a text can be shown as it is."""
    return _HARMFUL.search(_FLAG.sub("", text)) is None


def on_one_line(text: str) -> str:
    """Return a text on one line, with each character that must not be shown replaced by U+FFFD."""
    line = _LINE_SPACE.sub(" ", text).strip(" ")
    return line if is_showable(line) else _HARMFUL.sub("\ufffd", line)


def without_harmful(text: str) -> str:
    """Return a text without the characters that must not be shown."""
    return text if is_showable(text) else _HARMFUL.sub("", text)
