"""Manifests: folders and files with one image per row, read a row at a time.

A row that cannot be used is rejected with its number and the reason. The others are not affected.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Final

from tasks.manifests.columns import ColumnChoices, Columns
from tasks.manifests.formats.archive_lines import ImageArchive
from tasks.manifests.formats.csv_lines import Header, read_csv, read_header
from tasks.manifests.formats.encodings import Encoding
from tasks.manifests.formats.folder_lines import IMAGE_SUFFIXES, LeftOut, left_out_of, read_folder
from tasks.manifests.formats.json_lines import read_json
from tasks.manifests.formats.jsonl_lines import read_jsonl
from tasks.manifests.formats.rejects import CsvRejects, JsonlRejects, Rejects
from tasks.manifests.formats.spreadsheet_lines import open_spreadsheet
from tasks.manifests.formats.text_files import text_file
from tasks.manifests.lines import BYTE_ORDER_MARK, ManifestError, ManifestLine
from tasks.manifests.rows import Row, check_prompt, rows_of_lines
from tasks.schema.image_job import Aspect
from worker.ledger.pages import PAGE_SIZE, pages

_TABLES: Final = frozenset({".csv", ".tsv", ".txt"})
_JSON_LINES: Final = frozenset({".jsonl", ".ndjson"})
_TEXTS: Final = _TABLES | _JSON_LINES | {".json"}
_SPREADSHEETS: Final = frozenset({".xlsx", ".xlsm", ".ods"})
SUFFIXES: Final = _TEXTS | _SPREADSHEETS | {".zip"}
"""Suffixes of the files that can be a manifest."""
_OTHER_SPREADSHEETS: Final = frozenset({".xls", ".xlsb", ".numbers", ".gsheet"})
KINDS: Final = "a folder, or a .csv, .tsv, .txt, .jsonl, .json, .xlsx, .ods or .zip file"
"""What a manifest can be, for people."""
ONLY_IMAGES: Final = Header(("image",), ",")
"""The header of a manifest that has nothing but images."""


@dataclass(frozen=True, slots=True)
class ManifestOptions:
    """How to read a manifest where its content does not say it.

    Attributes:
        image_column: The column of the images.
        prompt_column: The column of the prompts.
        sheet: The name or number of a sheet of a spreadsheet.
        encoding: The encoding of a text file.
    """

    image_column: str | None = None
    prompt_column: str | None = None
    sheet: str | None = None
    encoding: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest.

    Attributes:
        name: The name of its batch, unless the caller gives another one.
        folder: Base of relative paths. Paths that do not exist in it start at the working
            directory.
        rows: Its rows, which can be read once.
        aspects: The aspects in which each row without one of its own is made. If empty, a row has
            one job, in an aspect that the agent chooses.
        source: Its path or address; empty for rows of a program.
        encoding: The encoding of a text file.
        columns: Its columns: those of the header, or those of the rows that were read.
        archive: The archive that holds the images.
        rejects: Opens a file of rejected rows in the manifest's format; None for an archive.
        left_out: The files in it that are not submitted, for a dry run.
    """

    name: str
    folder: Path
    rows: Iterator[Row]
    source: str = ""
    aspects: tuple[Aspect, ...] = ()
    encoding: Encoding | None = None
    columns: Columns = field(default_factory=Columns)
    archive: ImageArchive | None = None
    rejects: Callable[[Path], Rejects] | None = None
    left_out: Iterable[LeftOut] = ()

    def pages(self) -> Iterator[list[Row]]:
        """Yield the rows in lists that make at most ``PAGE_SIZE`` jobs."""
        return pages(self.rows, PAGE_SIZE // max(1, len(self.aspects)))


def open_manifest(
    source: Path,
    prompt: str | None = None,
    options: ManifestOptions | None = None,
    *,
    defaults: Mapping[str, object] | None = None,
) -> Manifest:
    """Open a folder or a file as a manifest.

    ``prompt`` and ``defaults`` (of other fields, such as ``seconds``) are for rows without them;
    ``{column}`` in the prompt stands for the row's value.

    Raises:
        ManifestError: The manifest does not exist or cannot be read, or an option does not fit it.
            Its rows may raise it too.
    """
    options = options or ManifestOptions()
    columns = Columns(
        ColumnChoices(options.image_column, options.prompt_column, prompt, defaults or {})
    )
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
        archive=content.archive,
        rejects=_rejects(content),
        left_out=content.left_out,
    )


@dataclass(frozen=True, slots=True)
class _Content:
    """What a manifest holds. Without a header, each line names its own columns.

    ``mark`` is the byte order mark, or nothing, with which a file of its rejected rows starts.
    """

    lines: Iterator[ManifestLine]
    header: Header | None = None
    encoding: Encoding | None = None
    mark: str = ""
    archive: ImageArchive | None = None
    left_out: Iterable[LeftOut] = ()


def _open(source: Path, columns: Columns, options: ManifestOptions) -> _Content:
    kind = source.suffix.lower()
    if not source.is_dir() and not source.is_file():
        raise ManifestError(f"There is no manifest {source}. Give {KINDS}.")
    _check_options(source, kind, options)
    if source.is_dir():
        return _Content(read_folder(source), ONLY_IMAGES, left_out=left_out_of(source))
    if kind == ".zip":
        archive = ImageArchive(source)
        left_out = archive.left_out()
        return _Content(archive.lines(), ONLY_IMAGES, archive=archive, left_out=left_out)
    if kind in _SPREADSHEETS:
        header, lines = open_spreadsheet(source, columns, options.sheet)
        return _Content(lines, header, mark=BYTE_ORDER_MARK)
    if kind not in _TEXTS:
        other = " Save it as .xlsx or .csv." if kind in _OTHER_SPREADSHEETS else ""
        if kind in IMAGE_SUFFIXES:
            other = f" It is one image: `reelqueue submit {quote(str(source))}` submits it."
        raise ManifestError(f"{source} is not {KINDS}.{other}")
    text = text_file(source, options.encoding)
    if kind in _TABLES:
        header = read_header(text, columns)
        return _Content(read_csv(text, header), header, text.encoding, text.encoding.mark)
    read = read_json if kind == ".json" else read_jsonl
    return _Content(read(text), encoding=text.encoding)


def _check_options(source: Path, kind: str, options: ManifestOptions) -> None:
    """Check that the options apply to the kind of the manifest.

    Raises:
        ManifestError: One of them does not.
    """
    has_columns = not source.is_dir() and kind in _TEXTS | _SPREADSHEETS
    wrong = [
        option
        for option, value, fits in (
            ("--image-column", options.image_column, has_columns),
            ("--prompt-column", options.prompt_column, has_columns),
            ("--sheet", options.sheet, kind in _SPREADSHEETS),
            ("--encoding", options.encoding, kind in _TEXTS),
        )
        if value is not None and not fits
    ]
    if wrong:
        raise ManifestError(f"{wrong[0]} does not apply to {source}: leave it out.")


def _rejects(content: _Content) -> Callable[[Path], Rejects] | None:
    if content.archive is not None:
        # Its images cannot be corrected in a table.
        return None
    if content.header is None:
        return JsonlRejects
    return partial(CsvRejects, header=content.header, mark=content.mark)


def _as_text(path: object) -> str:
    """Return a path or a name as text. Bytes that are not text are escaped."""
    return str(path).encode(errors="backslashreplace").decode()
