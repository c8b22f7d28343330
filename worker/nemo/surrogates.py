r"""Unpaired surrogates in texts of the video API.

JSON can contain one as an escape, such as ``\ud83d`` after a server has cut a text inside an emoji.
UTF-8, which Redis, files and terminals use, cannot encode it. Only a draft keeps it, because an
export sends the draft back unchanged.
"""

import re
from typing import Final

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def whole_characters(text: str) -> str:
    """Join surrogates into pairs, and replace each one that stays unpaired by U+FFFD."""
    if _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
