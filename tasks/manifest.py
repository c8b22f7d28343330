"""Manifests: a folder, a CSV or a JSONL file as rows, read one at a time however many there are.

A row that cannot be used does not stop the others: it is named with its line and the reason.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from tasks.payload import ImageJob, InvalidPayloadError

IMAGE_SUFFIXES: Final = frozenset(
    {
        *(".jpg", ".jpeg", ".png", ".webp", ".gif", ".heic", ".heif"),
        *(".avif", ".tiff", ".tif", ".bmp"),
    }
)
"""What is taken for an image in a folder. What it really is, its content says later."""

_OURS: Final = frozenset(
    {
        *("image", "prompt", "key", "aspect", "seconds", "language", "priority"),
        *("attach", "pass_url"),
    }
)
_PLACE: Final = re.compile(r"\{([^{}]+)\}")
_DELIMITERS: Final = ",;\t"


class ManifestError(ValueError):
    """A manifest that cannot be read at all. The text says what to do."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the job it describes, or why it describes none.

    Attributes:
        number: Its line in the file, from 1; in a folder, its place in the order of names.
        job: The job.
        reason: Why there is none.
    """

    number: int
    job: ImageJob | None
    reason: str = ""


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
    """

    name: str
    folder: Path
    rows: Iterator[Row]


def read(source: Path, prompt: str | None = None) -> Manifest:
    """Open a folder, a CSV or a JSONL file.

    Args:
        source: Where it is.
        prompt: For rows without a prompt of their own; ``{column}`` is filled in.

    Raises:
        ManifestError: There is no such manifest, or it cannot be read. The latter may be
            raised by the rows only.
    """
    if source.is_dir():
        return Manifest(source.resolve().name, source, rows(_folder(source), prompt))
    if not source.is_file():
        raise ManifestError(f"There is no manifest {source}: name a folder, a CSV or a JSONL file.")
    match source.suffix.lower():
        case ".csv":
            found = _csv(source)
        case ".jsonl" | ".ndjson":
            found = _jsonl(source)
        case _:
            raise ManifestError(f"{source} is neither a folder nor a .csv or .jsonl file.")
    return Manifest(source.name, source.parent, _decoded(source, rows(found, prompt)))


def rows(found: Iterable[tuple[int, object]], prompt: str | None = None) -> Iterator[Row]:
    """Rows from what was read: each a mapping, or a sentence on what is wrong with it.

    Args:
        found: Line numbers and what stands there.
        prompt: As in ``read``.
    """
    for number, fields in found:
        if isinstance(fields, str):
            yield Row(number, None, fields)
            continue
        try:
            yield Row(number, _job(fields, prompt))
        except InvalidPayloadError as error:
            yield Row(number, None, str(error))


def _job(fields: object, prompt: str | None) -> ImageJob:
    if isinstance(fields, ImageJob):
        return fields
    if not isinstance(fields, Mapping):
        raise InvalidPayloadError(["a row must be an object"])
    given = {str(name): value for name, value in fields.items() if value not in (None, "")}
    payload: dict[str, Any] = {name: given[name] for name in given.keys() & _OURS}
    payload["data"] = {name: value for name, value in given.items() if name not in _OURS}
    if isinstance(payload.get("attach"), str):
        payload["attach"] = [part.strip() for part in payload["attach"].split(";") if part.strip()]
    if prompt is not None and "prompt" not in payload:
        payload["prompt"] = _filled(prompt, given)
    return ImageJob.read(payload)


def _filled(prompt: str, given: Mapping[str, object]) -> str:
    missing = [name for name in _PLACE.findall(prompt) if name not in given]
    if missing:
        raise InvalidPayloadError(
            [f"prompt: the row has no {', '.join('{' + name + '}' for name in missing)}"]
        )
    return _PLACE.sub(lambda place: str(given[place[1]]), prompt)


def _folder(folder: Path) -> Iterator[tuple[int, object]]:
    images = sorted(
        path.name
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES
        and path.is_file()
        and not path.name.startswith(".")
    )
    if not images:
        raise ManifestError(f"{folder} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}).")
    return iter([(number, {"image": name}) for number, name in enumerate(images, start=1)])


def _csv(source: Path) -> Iterator[tuple[int, object]]:
    with source.open(encoding="utf-8-sig", newline="") as file:
        head = file.readline()
        file.seek(0)
        delimiter = max(_DELIMITERS, key=head.count)
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            names = _columns([name.strip() for name in next(reader, [])])
            last = reader.line_num
            for cells in reader:
                number, last = last + 1, reader.line_num
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) > len(names):
                    yield number, f"the row has {len(cells)} cells, the header {len(names)}"
                else:
                    yield number, dict(zip(names, cells, strict=False))
        except csv.Error as error:
            raise ManifestError(f"{source}, line {reader.line_num}: {error}.") from error


def _columns(names: list[str]) -> list[str]:
    if "image" not in names:
        raise ManifestError("The first line of a CSV manifest must name a column «image».")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ManifestError(
            f"The CSV manifest names a column twice: {', '.join(map(repr, twice))}."
        )
    return names


def _jsonl(source: Path) -> Iterator[tuple[int, object]]:
    with source.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, _line(line)


def _line(line: str) -> object:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"the line is not JSON: {error}"
    return fields if isinstance(fields, dict) else "the line is not a JSON object"


def _decoded(source: Path, found: Iterator[Row]) -> Iterator[Row]:
    try:
        yield from found
    except UnicodeDecodeError as error:
        raise ManifestError(f"{source} is not UTF-8 text: save it again as UTF-8.") from error
