"""Manifests: a folder, a CSV or a JSONL file as rows, read one at a time however many there are.

A row that cannot be used does not stop the others: it is named with its line and the reason.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from tasks.manifests.csv_lines import (
    Header,
    ManifestError,
    ManifestLine,
    list_folder,
    read_csv,
    read_header,
    read_jsonl,
)
from tasks.manifests.rejects import COLUMNS, ROW, CsvRejects, JsonlRejects, Rejects
from tasks.schema.errors import InvalidPayloadError
from tasks.schema.image_job import ImageJob
from tasks.schema.prompt_template import PLACEHOLDER, fill_prompt

IMAGE_SUFFIXES: Final = frozenset(
    {
        *(".jpg", ".jpeg", ".png", ".webp", ".gif", ".heic", ".heif"),
        *(".avif", ".tiff", ".tif", ".bmp"),
    }
)
"""What is taken for an image in a folder. What it really is, its content says later."""

_NOT_A_COLUMN: Final = frozenset({"version", "media", "data", "attach_names"})
_COLUMNS: Final = frozenset(ImageJob.model_fields) - _NOT_A_COLUMN


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the job it describes, or why it describes none.

    Attributes:
        line: As it stands in the manifest.
        job: The job.
        reason: Why there is none.
        original_number: Its line in the manifest in which it was first submitted. It differs from
            ``number`` in a file of rejected rows only; results are sorted by it.
    """

    line: ManifestLine
    job: ImageJob | None
    reason: str = ""
    original_number: int = 0

    @property
    def number(self) -> int:
        """Its line in the file, from 1; in a folder, its place in the order of names."""
        return self.line.number


def batch_id_for(name: str) -> str:
    """The id of a batch, a function of its name alone.

    A manifest that was mended and is submitted again is then the same batch, in which the rows
    that were good before are duplicates and are not paid again.
    """
    return str(uuid5(NAMESPACE_URL, f"reelqueue:batch:{name}"))


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest that is being read.

    Attributes:
        name: The batch's name, unless another is asked for: the manifest's own.
        folder: Where relative paths start, before the working directory is tried.
        rows: Its rows. They can be read once.
        source: Where it lies; empty if it is no file.
        rejects: Opens a file for the rows that are refused, in the manifest's own form.
    """

    name: str
    folder: Path
    rows: Iterator[Row]
    source: str = ""
    rejects: Callable[[Path], Rejects] | None = None


def open_manifest(source: Path, prompt: str | None = None) -> Manifest:
    """Open a folder, a CSV or a JSONL file.

    Args:
        source: Where it is.
        prompt: For rows without a prompt of their own; ``{column}`` is filled in.

    Raises:
        ManifestError: There is no such manifest, or it cannot be read. The latter may be
            raised by the rows only.
    """
    where = _as_text(source.resolve())
    if source.is_dir():
        header = Header(("image",), ",")
        _check_template(prompt, header)
        lines = list_folder(source, IMAGE_SUFFIXES)
        rejects: Callable[[Path], Rejects] = partial(CsvRejects, header=header)
        return Manifest(
            _as_text(source.resolve().name), source, rows(lines, prompt), where, rejects
        )
    if not source.is_file():
        raise ManifestError(f"There is no manifest {source}: name a folder, a CSV or a JSONL file.")
    match source.suffix.lower():
        case ".csv":
            header = read_header(source)
            _check_template(prompt, header)
            lines, rejects = read_csv(source, header), partial(CsvRejects, header=header)
        case ".jsonl" | ".ndjson":
            lines, rejects = read_jsonl(source), JsonlRejects
        case _:
            raise ManifestError(f"{source} is neither a folder nor a .csv or .jsonl file.")
    return Manifest(_as_text(source.name), source.parent, rows(lines, prompt), where, rejects)


def rows_of_jobs(jobs: Iterable[object], prompt: str | None = None) -> Iterator[Row]:
    """Rows from image jobs, or from mappings with the columns of a manifest."""
    for number, job in enumerate(jobs, start=1):
        if isinstance(job, ImageJob):
            yield Row(ManifestLine(number), job, original_number=number)
        elif isinstance(job, Mapping):
            yield from rows([ManifestLine(number, job, job)], prompt)
        else:
            yield Row(ManifestLine(number), None, "a row must be an object", number)


def rows(lines: Iterable[ManifestLine], prompt: str | None = None) -> Iterator[Row]:
    """Rows from lines.

    Args:
        lines: What stands in the manifest.
        prompt: As in ``open_manifest``.
    """
    for line in lines:
        original_number = _original_number(line)
        if line.reason:
            yield Row(line, None, line.reason, original_number)
            continue
        try:
            yield Row(line, _job(line.fields, prompt), original_number=original_number)
        except InvalidPayloadError as error:
            yield Row(line, None, str(error), original_number)


def _job(fields: Mapping[str, object], prompt: str | None) -> ImageJob:
    payload: dict[str, Any] = {}
    data: dict[str, object] = {}
    problems = []
    for column, value in fields.items():
        if value is None or value == "" or column in COLUMNS:
            continue
        ours = column if column in _COLUMNS else column.lower()
        if ours in _COLUMNS:
            payload[ours] = value
        elif isinstance(value, (str, int, float)):
            data[column] = value
        else:
            problems.append(f"{column}: must be a text, a number, true, false or null")
    if problems:
        raise InvalidPayloadError(problems)
    if isinstance(payload.get("attach"), str):
        payload["attach"] = [part.strip() for part in payload["attach"].split(";") if part.strip()]
    if prompt is not None and "prompt" not in payload:
        payload["prompt"] = fill_prompt(prompt, {**data, **payload})
    if data:
        payload["data"] = data
    return ImageJob.read(payload)


def _as_text(name: object) -> str:
    """A name as text, though the file system may call it by bytes that are none."""
    return str(name).encode(errors="backslashreplace").decode()


def _original_number(line: ManifestLine) -> int:
    first = str(line.fields.get(ROW, ""))
    return int(first) if first.isdecimal() and len(first) < len(str(2**31)) else line.number


def _check_template(prompt: str | None, header: Header) -> None:
    """Refuse a template that no row can fill, before each of them is refused for it."""
    known = set(header.columns) | {column.lower() for column in header.columns} & _COLUMNS
    missing = [name for name in PLACEHOLDER.findall(prompt or "") if name not in known]
    if missing:
        raise ManifestError(
            f"The prompt asks for {', '.join('{' + name + '}' for name in missing)}; the columns "
            f"are {', '.join('{' + name + '}' for name in header.columns if name)}."
        )
