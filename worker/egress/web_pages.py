"""Detects web pages that a server sends in place of a file."""

import html
import re
from pathlib import Path
from typing import Final

_HEAD_BYTES: Final = 2**16
_MAX_TITLE: Final = 100
_START: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:\s|<!--.*?-->|<\?xml[^>]*>)*<(?:!doctype\s+html|html|head|body|title|script)\b",
    re.IGNORECASE | re.DOTALL,
)
_TITLE: Final = re.compile(rb"<title\b[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)


def web_page_title(path: Path) -> str | None:
    """Return the shortened title of a web page; "" if it has none; None if it is another file."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not _START.match(head):
        return None
    found = _TITLE.search(head)
    text = html.unescape(found[1].decode("utf-8", "replace")) if found else ""
    words = "".join(character if character.isprintable() else " " for character in text).split()
    return " ".join(words)[:_MAX_TITLE].rstrip()
