"""Keys of the media store. Files of equal content are stored once, under their SHA-256."""

import re
from pathlib import Path
from typing import Final

MEDIA_KEY: Final = r"^[0-9a-f]{2}/[0-9a-f]{64}\.[a-z0-9]{1,5}$"
"""The form of a key."""


def is_media_key(name: str) -> bool:
    """Return whether a name has the form of a key."""
    return re.fullmatch(MEDIA_KEY, name) is not None


def media_key(sha256: str, name: str) -> str:
    """Return the key of a file, from the digest of its content and from its name."""
    return f"{sha256[:2]}/{sha256}{content_suffix(name)}"


def content_suffix(name: str) -> str:
    """Return the suffix for the key of a file, with its dot; ``.bin`` if its own cannot be used."""
    suffix = Path(name).suffix.lower()
    return suffix if re.fullmatch(r"\.[a-z0-9]{1,5}", suffix) else ".bin"
