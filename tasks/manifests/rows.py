"""Rows: the lines of a manifest as image jobs."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tasks.manifests.lines import REJECTS_COLUMNS, ManifestError, ManifestLine, listed
from tasks.schema.errors import InvalidPayloadError
from tasks.schema.image_job import ImageJob
from tasks.schema.prompt_template import PLACEHOLDER, fill_prompt

_JOB_COLUMNS: Final = frozenset(ImageJob.model_fields) - {
    "version",
    "media",
    "data",
    "attach_names",
}
"""Columns with a meaning for the job. Other columns are data of the caller."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a manifest: its line, and the job or the reason why there is none."""

    line: ManifestLine
    job: ImageJob | None
    reason: str = ""

    @property
    def number(self) -> int:
        """The number of its line."""
        return self.line.number


def rows_of_jobs(jobs: Iterable[object], prompt: str | None = None) -> Iterator[Row]:
    """Yield the rows of image jobs, or of mappings with the columns of a manifest."""
    for number, job in enumerate(jobs, start=1):
        if isinstance(job, ImageJob):
            yield Row(ManifestLine(number), job)
        elif isinstance(job, Mapping):
            yield from rows_of_lines([ManifestLine(number, job, job)], prompt)
        else:
            yield Row(ManifestLine(number), None, "a row must be an object")


def rows_of_lines(lines: Iterable[ManifestLine], prompt: str | None = None) -> Iterator[Row]:
    """Yield the rows of lines.

    ``prompt`` is for rows without one; ``{column}`` in it stands for the row's value.
    """
    for line in lines:
        if line.error:
            yield Row(line, None, line.error)
            continue
        try:
            yield Row(line, _job(line.fields, prompt))
        except InvalidPayloadError as error:
            yield Row(line, None, str(error))


def check_prompt(prompt: str | None, columns: Iterable[str]) -> None:
    """Check that a prompt names only columns that the manifest has.

    Raises:
        ManifestError: It names others. Each row would be rejected for it.
    """
    known = [column for column in columns if column]
    names = {*known, *_JOB_COLUMNS.intersection(map(str.lower, known))}
    missing = [name for name in PLACEHOLDER.findall(prompt or "") if name not in names]
    if missing:
        raise ManifestError(
            f"The prompt asks for {', '.join(f'{{{name}}}' for name in missing)}; the columns "
            f"are {listed(f'{{{name}}}' for name in known)}."
        )


def _job(fields: Mapping[str, object], prompt: str | None) -> ImageJob:
    payload: dict[str, Any] = {}
    data: dict[str, object] = {}
    problems = []
    for column, value in fields.items():
        if value is None or value == "" or column in REJECTS_COLUMNS:
            continue
        name = column if column in _JOB_COLUMNS else column.lower()
        if name in _JOB_COLUMNS:
            payload[name] = value
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
