"""Results for programs and spreadsheets: JSON lines and CSV, one job at a time."""

import csv
from collections.abc import Callable, Iterable
from typing import Final, TextIO

from tasks.schema.result import Quality, Result

COLUMNS: Final = (
    *("row", "job_id", "state", "reason", "message", "remedy", "image", "prompt", "url", "path"),
    *("bytes", "sha256", "width", "height", "seconds", "codec", "quality", "findings"),
    *("credits_spent", "credits_estimated", "paid_messages"),
    *("reply", "timeline", "created_at", "finished_at", "changes"),
)
"""Columns of every CSV; the caller's own columns follow."""

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def write_jsonl(results: Iterable[Result], sink: TextIO) -> None:
    """One record a line."""
    sink.writelines(result.model_dump_json() + "\n" for result in results)


def write_csv(read: Callable[[], Iterable[Result]], sink: TextIO) -> None:
    """One job a line.

    Args:
        read: Reads the jobs. It is called twice, because the header names every column that any
            job brings, and a large batch should not have to fit into memory.
        sink: Where to.
    """
    own = dict.fromkeys(name for result in read() for name in result.data)
    columns = dict.fromkeys((*COLUMNS, *own))
    writer = csv.DictWriter(sink, columns)
    writer.writeheader()
    for result in read():
        writer.writerow({name: _cell(value) for name, value in _fields(result).items()})


def _fields(result: Result) -> dict[str, object]:
    video, why = result.video, result.reason
    return {
        **result.data,
        **result.model_dump(mode="json", include=set(COLUMNS)),
        "reason": why.code.value if why else None,
        "message": why.message if why else None,
        "remedy": why.remedy if why else None,
        "url": video.url if video else None,
        "path": video.path if video else None,
        "bytes": video.bytes if video else None,
        "sha256": video.sha256 if video else None,
        "width": video.width if video else None,
        "height": video.height if video else None,
        "seconds": video.seconds if video else None,
        "codec": video.codec if video else None,
        "changes": "; ".join(result.changes),
        **_quality(video.quality if video else None),
    }


def _quality(quality: Quality | None) -> dict[str, str | None]:
    if quality is None:
        return {"quality": None, "findings": None}
    codes = dict.fromkeys(finding.code for finding in quality.findings)
    return {
        "quality": "ok" if quality.ok else " ".join(codes),
        "findings": " ".join(finding.message for finding in quality.findings),
    }


def _cell(value: object) -> object:
    """A value that no spreadsheet takes for a formula: prompts and names come from anywhere."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
