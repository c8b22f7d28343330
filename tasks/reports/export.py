"""Results for programs and spreadsheets: JSON lines and CSV, one job at a time."""

from collections.abc import Iterable
from typing import Final, TextIO

from config.redaction import redact
from tasks.reports.spreadsheet_cells import SpreadsheetWriter
from tasks.schema.result import Quality, Result

COLUMNS: Final = (
    *("row", "job_id", "state", "reason", "message", "remedy", "image", "prompt", "aspect", "url"),
    "path",
    *("bytes", "sha256", "width", "height", "seconds", "codec", "quality", "findings"),
    *("credits_spent", "credits_estimated", "paid_messages"),
    *("reply", "timeline", "created_at", "finished_at", "changes"),
)
"""Columns of each table. The caller's own columns follow."""

_RESULT_COLUMNS: Final[set[str]] = {*COLUMNS} & {*Result.model_fields} - {"reason"}
_VIDEO_COLUMNS: Final = {
    *("url", "path", "bytes", "sha256", "width", "height", "seconds", "codec"),
    *("link", "poster_link", "link_expires_at"),
}
_NO_CELLS: Final = dict.fromkeys(COLUMNS)
_BOM: Final = "\ufeff"
"""The byte order mark, by which Excel recognizes UTF-8."""


def write_jsonl(results: Iterable[Result], sink: TextIO) -> None:
    """Write one record per line."""
    sink.writelines(result.model_dump_json() + "\n" for result in results)


def write_csv(own_columns: Iterable[str], results: Iterable[Result], sink: TextIO) -> None:
    """Write one row per job. A large batch is not held in memory.

    Args:
        own_columns: The columns that the caller's rows have of their own, for the header.
        results: The records.
        sink: Where to write.
    """
    columns = dict.fromkeys((*COLUMNS, *own_columns))
    sink.write(_BOM)
    writer = SpreadsheetWriter(sink)
    writer.write_row(columns)
    for result in results:
        fields = table_row(result)
        writer.write_row(map(fields.get, columns))


def table_row(result: Result) -> dict[str, object]:
    """Return the cells of a job by their columns."""
    fields: dict[str, object] = {
        **result.data,
        **_NO_CELLS,
        **result.model_dump(mode="json", include=_RESULT_COLUMNS),
        "changes": "; ".join(result.changes),
    }
    if result.reason is not None:
        # People pass tables on, so they must not have the claim links that some remedies contain.
        texts = result.reason.model_dump(include={"message", "remedy"})
        fields |= {name: redact(text) for name, text in texts.items()}
        fields["reason"] = result.reason.code.value
    if result.video is not None:
        fields |= result.video.model_dump(mode="json", include=_VIDEO_COLUMNS)
        fields |= _quality(result.video.quality)
    return fields


def _quality(quality: Quality | None) -> dict[str, str]:
    if quality is None:
        return {}
    codes = dict.fromkeys(finding.code for finding in quality.findings)
    return {
        "quality": "ok" if quality.ok else " ".join(codes),
        "findings": " ".join(finding.message for finding in quality.findings),
    }
