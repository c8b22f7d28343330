r"""Half surrogate pairs in texts of the video API.

JSON can hold one as an escape, such as ``\ud83d`` where a server has cut a text inside an emoji.
Redis, files and terminals take UTF-8, which cannot. Only a draft keeps it, for its export.
"""

import re
from typing import Final

_HALF: Final = re.compile("[\ud800-\udfff]")


def whole_characters(text: str) -> str:
    """Join the halves of surrogate pairs, and replace each half that has no other by U+FFFD."""
    if _HALF.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
