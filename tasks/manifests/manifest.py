"""Manifests: folders and files with one image per row, read a row at a time.

A row that cannot be used is rejected with its number and the reason. The others are not affected.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from tasks.manifests.columns import ColumnChoices, Columns
from tasks.manifests.formats.csv_lines import Header, read_csv, read_header
from tasks.manifests.formats.encodings import Encoding
from tasks.manifests.formats.folder_lines import read_folder
from tasks.manifests.formats.jsonl_lines import read_jsonl
from tasks.manifests.formats.rejects import CsvRejects, JsonlRejects, Rejects
from tasks.manifests.formats.text_files import text_file
from tasks.manifests.lines import ManifestError, ManifestLine
from tasks.manifests.rows import Row, check_prompt, rows_of_lines
from tasks.schema.image_job import Aspect
from worker.ledger.pages import PAGE_SIZE, pages

_TABLES: Final = frozenset({".csv", ".tsv", ".txt"})
_JSON_LINES: Final = frozenset({".jsonl", ".ndjson"})
KINDS: Final = "a folder, or a .csv, .tsv, .txt or .jsonl file"
"""What a manifest can be, for people."""


@dataclass(frozen=True, slots=True)
class ManifestOptions:
    """How a manifest is read, where it does not say so itself.

    Attributes:
        image_column: The column of the images.
        prompt_column: The column of the prompts.
        encoding: The encoding of a text file.
    """

    image_column: str | None = None
    prompt_column: str | None = None
    encoding: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest.

    Attributes:
        name: The name of its batch, unless the caller gives another one.
        folder: Base of relative paths. Paths that do not exist in it start at the working
            directory.
        rows: Its rows, which can be read once.
        aspects: The aspects in which each row without one of its own is made. None: one job a row,
            whose aspect the agent chooses.
        source: Its path; empty if it is no file.
        encoding: The encoding of a text file.
        columns: Its columns: those of the header, or those of the rows that were read.
        rejects: Opens a file of rejected rows in the manifest's format.
    """

    name: str
    folder: Path
    rows: Iterator[Row]
    source: str = ""
    aspects: tuple[Aspect, ...] = ()
    encoding: Encoding | None = None
    columns: Columns = field(default_factory=Columns)
    rejects: Callable[[Path], Rejects] | None = None

    def pages(self) -> Iterator[list[Row]]:
        """Yield the rows in lists that make at most ``PAGE_SIZE`` jobs."""
        return pages(self.rows, PAGE_SIZE // max(1, len(self.aspects)))


def open_manifest(
    source: Path, prompt: str | None = None, options: ManifestOptions | None = None
) -> Manifest:
    """Open a folder or a file as a manifest.

    ``prompt`` is for rows without one; ``{column}`` in it stands for the row's value.

    Raises:
        ManifestError: The manifest does not exist or cannot be read, or an option does not fit it.
            Its rows may raise it too.
    """
    options = options or ManifestOptions()
    columns = Columns(ColumnChoices(options.image_column, options.prompt_column, prompt))
    content = _open(source, columns, options)
    if content.header is not None:
        check_prompt(columns, content.header.columns)
    return Manifest(
        name=_as_text(source.resolve().name if source.is_dir() else source.name),
        folder=source if source.is_dir() else source.parent,
        rows=rows_of_lines(content.lines, columns),
        source=_as_text(source.resolve()),
        encoding=content.encoding,
        columns=columns,
        rejects=_rejects(content),
    )


@dataclass(frozen=True, slots=True)
class _Content:
    """What a manifest holds. Without a header, each line names its own columns."""

    lines: Iterator[ManifestLine]
    header: Header | None = None
    encoding: Encoding | None = None


def _open(source: Path, columns: Columns, options: ManifestOptions) -> _Content:
    kind = source.suffix.lower()
    if source.is_dir():
        _refuse(source, "a folder", options.image_column, "--image-column")
        _refuse(source, "a folder", options.prompt_column, "--prompt-column")
        _refuse(source, "no text file", options.encoding, "--encoding")
        header = Header(("image",), ",")
        columns.fields_of(header.columns)
        return _Content(read_folder(source), header)
    if not source.is_file():
        raise ManifestError(f"There is no manifest {source}. Give {KINDS}.")
    if kind in _TABLES:
        text = text_file(source, options.encoding)
        header = read_header(text, columns)
        return _Content(read_csv(text, header), header, text.encoding)
    if kind in _JSON_LINES:
        text = text_file(source, options.encoding)
        return _Content(read_jsonl(text), encoding=text.encoding)
    raise ManifestError(f"{source} is not {KINDS}.")


def _rejects(content: _Content) -> Callable[[Path], Rejects]:
    if content.header is None:
        return JsonlRejects
    mark = content.encoding.mark if content.encoding else ""
    return partial(CsvRejects, header=content.header, mark=mark)


def _refuse(source: Path, what: str, value: str | None, option: str) -> None:
    if value is not None:
        raise ManifestError(f"{source} is {what}: leave out {option}.")


def _as_text(path: object) -> str:
    """Return a path or a name with bytes that are no text escaped."""
    return str(path).encode(errors="backslashreplace").decode()
