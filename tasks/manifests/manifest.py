"""Manifests: folders, CSV and JSONL files with one image per row, read a row at a time.

A row that cannot be used is rejected with its number and the reason. The others are not affected.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tasks.manifests.formats.csv_lines import Header, read_csv, read_header
from tasks.manifests.formats.folder_lines import read_folder
from tasks.manifests.formats.jsonl_lines import read_jsonl
from tasks.manifests.formats.rejects import CsvRejects, JsonlRejects, Rejects
from tasks.manifests.lines import ManifestError
from tasks.manifests.rows import Row, check_prompt, rows_of_lines
from tasks.schema.image_job import Aspect
from worker.ledger.pages import PAGE_SIZE, pages


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
        rejects: Opens a file of rejected rows in the manifest's format.
    """

    name: str
    folder: Path
    rows: Iterator[Row]
    source: str = ""
    aspects: tuple[Aspect, ...] = ()
    rejects: Callable[[Path], Rejects] | None = None

    def pages(self) -> Iterator[list[Row]]:
        """Yield the rows in lists that make at most ``PAGE_SIZE`` jobs."""
        return pages(self.rows, PAGE_SIZE // max(1, len(self.aspects)))


def open_manifest(source: Path, prompt: str | None = None) -> Manifest:
    """Open a folder, a CSV or a JSONL file as a manifest.

    ``prompt`` is for rows without one; ``{column}`` in it stands for the row's value.

    Raises:
        ManifestError: The manifest does not exist or cannot be read. Its rows may raise it too.
    """
    header = None
    if source.is_dir():
        header = Header(("image",), ",")
        lines = read_folder(source)
    elif not source.is_file():
        raise ManifestError(f"There is no manifest {source}. Give a folder, a CSV or a JSONL file.")
    elif source.suffix.lower() == ".csv":
        header = read_header(source)
        lines = read_csv(source, header)
    elif source.suffix.lower() in {".jsonl", ".ndjson"}:
        lines = read_jsonl(source)
    else:
        raise ManifestError(f"{source} is neither a folder nor a .csv or .jsonl file.")
    if header is not None:
        check_prompt(prompt, header.columns)
    return Manifest(
        name=_as_text(source.resolve().name if source.is_dir() else source.name),
        folder=source if source.is_dir() else source.parent,
        rows=rows_of_lines(lines, prompt),
        source=_as_text(source.resolve()),
        rejects=JsonlRejects if header is None else partial(CsvRejects, header=header),
    )


def _as_text(path: object) -> str:
    """Return a path or a name with bytes that are no text escaped."""
    return str(path).encode(errors="backslashreplace").decode()
