"""Finds files whose names have another Unicode spelling than the path that names them.

The same name can be spelled with composed or decomposed accents (macOS writes the latter), with
different space characters, or with invisible characters copied from a web page or a spreadsheet.
"""

import os
import unicodedata
from pathlib import Path
from typing import Final

_MAX_FOLDERS: Final = 64
"""The most folders whose listings are kept in memory."""


class FileSpellings:
    """Finds files by paths in another spelling. Each folder is listed only once."""

    def __init__(self) -> None:
        self._listings: dict[Path, dict[str, list[str]]] = {}

    def find(self, path: Path) -> Path:
        """Return the existing path that differs from this one in nothing but the spelling.

        Returns:
            The given path if it exists, or if no path or several paths match.
        """
        if os.path.exists(path):  # noqa: PTH110 -- False for a name that is too long, no error
            return path
        found = Path(path.anchor)
        for part in path.parts[1 if path.anchor else 0 :]:
            exact = found / part
            if os.path.exists(exact):  # noqa: PTH110 -- as above
                found = exact
                continue
            names = self._names(found).get(_spelling(part), [])
            if len(names) != 1:
                return path
            found /= names[0]
        return found

    def _names(self, folder: Path) -> dict[str, list[str]]:
        """Return the names in a folder, grouped by their common spelling."""
        if folder not in self._listings:
            if len(self._listings) >= _MAX_FOLDERS:
                self._listings.clear()
            names: dict[str, list[str]] = {}
            try:
                for name in os.listdir(folder):  # noqa: PTH208 -- the names alone are needed
                    names.setdefault(_spelling(name), []).append(name)
            except OSError:
                names.clear()
            self._listings[folder] = names
        return self._listings[folder]


def _spelling(name: str) -> str:
    """Return the same text for all spellings of a name."""
    if name.isascii():
        return name
    composed = unicodedata.normalize("NFC", name)
    return unicodedata.normalize("NFC", "".join(map(_common_form, composed)))


def _common_form(character: str) -> str:
    match unicodedata.category(character):
        case "Cf":
            # Invisible, such as a zero-width space.
            return ""
        case "Zs":
            return " "
        case _:
            return character
