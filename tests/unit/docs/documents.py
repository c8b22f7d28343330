"""The documents of the project, and what stands in them as code."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[3]

FENCED: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INLINE: Final = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Document:
    """A document.

    Attributes:
        name: Its path from the root of the repository.
        text: Its whole text.
    """

    name: str
    text: str

    @property
    def path(self) -> Path:
        """Where it is."""
        return ROOT / self.name

    @property
    def prose(self) -> str:
        """The text without its code blocks."""
        return FENCED.sub("", self.text)

    def blocks(self, language: str) -> list[str]:
        """Return the code blocks in a language, such as ``python``."""
        return [block for marked, block in FENCED.findall(self.text) if marked == language]

    def inline_code(self) -> Iterator[str]:
        """Return what stands in backticks, each on one line."""
        for code in INLINE.findall(self.prose):
            yield " ".join(code.split())

    def code_lines(self) -> Iterator[str]:
        """Return every line of a shell block, and what stands in backticks, without comments."""
        for block in self.blocks("sh"):
            yield from (line.partition(" #")[0].strip() for line in block.splitlines())
        yield from self.inline_code()


def read(name: str) -> Document:
    """Read a document by its path from the root of the repository."""
    return Document(name, (ROOT / name).read_text(encoding="utf-8"))


PAGES: Final = [
    *map(read, ("README.md", "CONTRIBUTING.md")),
    *(read(str(path.relative_to(ROOT))) for path in sorted((ROOT / "docs").rglob("*.md"))),
]
"""The documents that describe the present state."""

DOCUMENTS: Final = [*PAGES, *map(read, ("CHANGELOG.md", "samples/SOURCES.md"))]
"""All documents. The others name what exists no longer, or elsewhere."""
