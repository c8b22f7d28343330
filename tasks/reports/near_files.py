"""Relative paths from a report to the files that it links, so that both can be moved together."""

import os
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

_MAX_PARENTS: Final = 2
"""How many folders above the report a relative path may start."""


def path_to_near_file(url: str, folder: Path | None) -> Path | None:
    """Return the path from a report's folder to the file of a ``file://`` URL.

    None if the file is not near the report, the URL names no file, or there is no folder.
    """
    parts = urlsplit(url)
    if folder is None or parts.scheme != "file":
        return None
    path = Path(os.path.relpath(unquote(parts.path), folder))
    return path if path.parts.count("..") <= _MAX_PARENTS else None
