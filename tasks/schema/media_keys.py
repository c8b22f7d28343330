"""Keys of the media store: each content is stored once, under its SHA-256."""

import re
from pathlib import Path
from typing import Final

MEDIA_KEY: Final = r"^[0-9a-f]{2}/[0-9a-f]{64}\.[a-z0-9]{1,5}$"
"""The form of a key."""


def is_media_key(name: str) -> bool:
    """Return whether a name has the form of a key."""
    return re.fullmatch(MEDIA_KEY, name) is not None


def media_key(sha256: str, name: str) -> str:
    """Return the key of a content from its digest and the name of its file."""
    return f"{sha256[:2]}/{sha256}{content_suffix(name)}"


def content_suffix(name: str) -> str:
    """Return the suffix of a file name in the form that keys have, with its dot."""
    suffix = Path(name).suffix.lower()
    return suffix if re.fullmatch(r"\.[a-z0-9]{1,5}", suffix) else ".bin"
