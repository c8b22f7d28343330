"""Rows: the lines of a manifest as image jobs."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.manifests.columns import ColumnChoices, ColumnError, Columns
from tasks.manifests.field_values import read_value
from tasks.manifests.lines import REJECTS_COLUMNS, ManifestError, ManifestLine, listed
from tasks.schema.errors import InvalidPayloadError
from tasks.schema.image_job import ImageJob
from tasks.schema.prompt_template import PLACEHOLDER, fill_prompt


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
    columns = Columns(ColumnChoices(template=prompt, synonyms=False))
    for number, job in enumerate(jobs, start=1):
        if isinstance(job, ImageJob):
            yield Row(ManifestLine(number), job)
        elif isinstance(job, Mapping):
            yield from rows_of_lines([ManifestLine(number, job, job)], columns)
        else:
            yield Row(ManifestLine(number), None, "a row must be an object")


def rows_of_lines(lines: Iterable[ManifestLine], columns: Columns) -> Iterator[Row]:
    """Yield the rows of lines.

    The prompt of the columns' choices is for rows without one; ``{column}`` in it stands for the
    row's value.
    """
    for line in lines:
        if line.error:
            yield Row(line, None, line.error)
            continue
        try:
            yield Row(line, _job(line.fields, columns))
        except InvalidPayloadError as error:
            yield Row(line, None, str(error))


def check_prompt(columns: Columns, header: Iterable[str]) -> None:
    """Check that the prompt for rows without one names only columns of a header.

    Raises:
        ManifestError: It names others, for which each row would be rejected.
    """
    known = [column for column in header if column]
    names = {*known, *columns.fields_of(header).values()}
    asked = PLACEHOLDER.findall(columns.choices.template or "")
    missing = [name for name in asked if name not in names]
    if missing:
        raise ManifestError(
            f"The prompt asks for {', '.join(f'{{{name}}}' for name in missing)}; the columns "
            f"are {listed(f'{{{name}}}' for name in known)}."
        )


def _job(values: Mapping[str, object], columns: Columns) -> ImageJob:
    payload: dict[str, Any] = {}
    data: dict[str, object] = {}
    problems = []
    try:
        fields = columns.fields_of(values)
    except ColumnError as error:
        raise InvalidPayloadError([str(error)]) from None
    for column, value in values.items():
        if value is None or value == "" or column in REJECTS_COLUMNS:
            continue
        field = fields.get(column)
        if field is not None:
            payload[field] = read_value(field, value)
        elif isinstance(value, (str, int, float)):
            data[column] = value
        else:
            problems.append(f"{column}: must be a text, a number, true, false or null")
    if problems:
        raise InvalidPayloadError(problems)
    payload = {**columns.choices.defaults, **payload}
    template = columns.choices.template
    if template is not None and "prompt" not in payload:
        written = {column: payload.get(field) for column, field in fields.items()}
        payload["prompt"] = fill_prompt(template, {**data, **written, **payload})
    if data:
        payload["data"] = data
    return ImageJob.read(payload)
