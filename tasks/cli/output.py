"""What commands print: JSON lines for programs, lines and tables for people."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from tasks.cli.encoding import discard, to_utf8
from tasks.cli.time_left import time_left
from tasks.schema.batch import Batch
from tasks.schema.result import Result
from tasks.schema.submission import Submission
from worker.ledger.model.states import State
from worker.shown_text import on_one_line

STATE_STYLES: Final = {
    State.SUCCEEDED: "green",
    State.FAILED: "red",
    State.HELD: "yellow",
    State.CANCELLED: "dim",
    State.QUEUED: "dim",
}
"""Colors of the states. Running states have none."""

_PIPE_WIDTH: Final = 1000


def console(width: int | None = None) -> Console:
    """Return standard output for people. It is opened at each call, because tests replace it.

    Args:
        width: Its width in columns; None for that of the terminal.
    """
    return _Console(highlight=False, markup=False, soft_wrap=True, width=width)


def table_console() -> Console:
    """Return standard output for a table, which is not cut to a width in a pipe."""
    out = console()
    return out if out.is_terminal or "COLUMNS" in os.environ else console(_PIPE_WIDTH)


class _Console(Console):
    """A console that raises an error if its output is closed, as any other stream does."""

    def on_broken_pipe(self) -> None:
        """Raise the error again: `ErrorHandlingGroup` ends the command."""
        raise BrokenPipeError


def emit(record: BaseModel | Mapping[str, Any]) -> None:
    """Print a record as one line of JSON."""
    if isinstance(record, BaseModel):
        text = record.model_dump_json()
    else:
        text = json.dumps(record, ensure_ascii=False)
    typer.echo(to_utf8(text))


def note(message: str) -> None:
    """Print a message for people on standard error.

    It may quote texts from outside, such as those of the API: control characters are escaped.
    """
    # Typer would write UTF-8 to a terminal that is set to ASCII.
    try:
        sys.stderr.write("".join(f"{on_one_line(line)}\n" for line in message.split("\n")))
        sys.stderr.flush()
    except OSError:
        # The command itself is not affected, and there is nowhere to report the error.
        discard(sys.stderr)


def local_time(at: datetime) -> str:
    """Return a time in the local time zone, with its offset."""
    return at.astimezone().isoformat(" ", "minutes")


def truncated(text: str, limit: int = 60) -> str:
    """Return a text on one line, cut to ``limit`` characters."""
    line = on_one_line(text)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def table(*headings: str) -> Table:
    """Return an empty table for records of a few short fields."""
    grid = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    for heading in headings:
        grid.add_column(heading, no_wrap=True, overflow="ellipsis", min_width=len(heading))
    return grid


def print_submission(submission: Submission, detail: str = "", *, as_json: bool) -> None:
    """Print the result of a submission, in text for people with a detail about the job."""
    if as_json:
        emit(submission.as_dict())
        return
    known = "(already submitted)" if submission.duplicate else ""
    parts = (submission.job_id, submission.state, on_one_line(detail), known)
    console().print("  ".join(filter(None, parts)))


def print_record(record: Result | Batch, *, as_json: bool) -> None:
    """Print the record of a job or a batch."""
    if as_json:
        emit(record)
    elif isinstance(record, Batch):
        _print_batch(record)
    else:
        _print_result(record)


def _print_result(result: Result) -> None:
    out = console()
    out.print(f"{result.job_id}  {result.state}", style=STATE_STYLES.get(result.state, "bold"))
    for label, text in result_fields(result):
        out.print(f"  {label:<9} {on_one_line(text)}")


def result_fields(result: Result) -> Iterator[tuple[str, str]]:
    """Yield the fields of a job for people, as label and text. No characters are escaped."""
    yield "image", result.image
    if result.changes:
        yield "changes", "; ".join(result.changes)
    yield "prompt", result.prompt
    if result.batch_id:
        yield "batch", result.batch_id
    if result.reason:
        yield "reason", f"{result.reason.code}: {result.reason.message}"
        yield "remedy", result.reason.remedy
    elif not result.state.is_end:
        yield "progress", result.progress.message
    if result.video:
        video = result.video
        size = f"{video.width}x{video.height}, {video.seconds:.1f} s, {video.bytes / 1e6:.1f} MB"
        yield "clip", video.path or video.url
        yield "video", size
        for finding in video.quality.findings if video.quality else ():
            yield "quality", finding.message
    if result.timeline:
        yield "timeline", result.timeline
    if result.reply:
        yield "reply", result.reply
    if result.session.claim_url:
        yield "project", result.session.claim_url
    if result.paid_messages:
        about = "about " if result.credits_estimated else ""
        yield "credits", f"{about}{result.credits_spent:g} for {result.paid_messages} message(s)"


def _print_batch(batch: Batch) -> None:
    out = console()
    flags = [word for word, on in (("paused", batch.paused), ("unsealed", not batch.sealed)) if on]
    title = f"{batch.batch_id}  {on_one_line(batch.name)}  {' '.join(flags)}"
    out.print(title.rstrip(), style="bold")
    out.print(f"  {batch_summary(batch)}")
    if left := time_left(batch):
        out.print(f"  {left}")
    if batch.not_before and batch.queued and batch.not_before > datetime.now(UTC):
        out.print(f"  no job starts before {local_time(batch.not_before)}")
    if not batch.sealed:
        out.print("  its manifest is incomplete: submit it again, unless it is being submitted now")
    if batch.blocked_by:
        out.print(f"  waits for a decision about {batch.blocked_by}, whose outcome is unknown")
    elif batch.paused and batch.queued:
        out.print(f"  paused: `reelqueue batch resume {batch.batch_id}` starts the queued jobs")


def batch_summary(batch: Batch) -> str:
    """Return the counters of a batch on one line."""
    counts = ("queued", "running", "held", "succeeded", "failed", "cancelled")
    parts = [f"{getattr(batch, name)} {name}" for name in counts if getattr(batch, name)]
    return f"{batch.total} jobs: {', '.join(parts) or 'none'}"
