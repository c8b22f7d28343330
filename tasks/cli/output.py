"""What a command prints: JSON lines for programs, plain lines and tables for people."""

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from tasks.schema.batch import Batch
from tasks.schema.result import Result
from worker.ledger.model.states import State

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object per line, and nothing else.")
]

UUID_WIDTH: Final = 36

STATE_STYLES: Final = {
    State.SUCCEEDED: "green",
    State.FAILED: "red",
    State.HELD: "yellow",
    State.CANCELLED: "dim",
    State.QUEUED: "dim",
}
"""How a state looks; a running one stands out by nothing."""


def console() -> Console:
    """Standard output, for people. Made anew each time: tests and pipes change it."""
    return Console(highlight=False, markup=False, soft_wrap=True)


def emit(record: BaseModel | Mapping[str, Any]) -> None:
    """Print one record as a line of JSON."""
    if isinstance(record, BaseModel):
        typer.echo(record.model_dump_json())
    else:
        typer.echo(json.dumps(record, ensure_ascii=False))


def note(message: str) -> None:
    """Tell a person something besides the output, on standard error."""
    typer.echo(message, err=True)


def printable(text: str) -> str:
    """A text from outside on one line, without what would steer a terminal."""
    line = " ".join(text.split())
    return "".join(sign if sign.isprintable() else "�" for sign in line)


STATE_WIDTH = max(len(state) for state in State)


def table(*headings: str) -> Table:
    """An empty table whose first column, the id, is never cut: it is copied from there."""
    grid = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    grid.add_column(headings[0], no_wrap=True, min_width=UUID_WIDTH)
    for heading in headings[1:]:
        width = STATE_WIDTH if heading == "state" else len(heading)
        grid.add_column(heading, no_wrap=True, overflow="ellipsis", min_width=width)
    return grid


def truncated(text: str, limit: int = 60) -> str:
    """A text that fits into a table."""
    line = printable(text)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def print_result(result: Result) -> None:
    """Print all that a person wants to know of a job."""
    out = console()
    out.print(f"{result.job_id}  {result.state}", style=STATE_STYLES.get(result.state, "bold"))
    for name, value in result_fields(result):
        out.print(f"  {name:<9} {printable(value)}")


def result_fields(result: Result) -> Iterable[tuple[str, str]]:
    """Yield the fields of a job to show, as (label, text); the texts are not made printable."""
    yield "image", result.image
    if result.changes:
        yield "changed", "; ".join(result.changes)
    yield "prompt", result.prompt
    if result.batch_id:
        yield "batch", result.batch_id
    if result.reason:
        yield "reason", f"{result.reason.code}: {result.reason.message}"
        yield "remedy", result.reason.remedy
    elif not result.state.is_end:
        yield "now", result.progress.message
    if result.video:
        video = result.video
        yield "clip", video.path or video.url
        yield (
            "film",
            f"{video.width}x{video.height}, {video.seconds:.1f} s, {video.bytes / 1e6:.1f} MB",
        )
        for finding in video.quality.findings if video.quality else ():
            yield "marked", finding.message
    if result.timeline:
        yield "timeline", result.timeline
    if result.reply:
        yield "reply", result.reply
    if result.session.claim_url:
        yield "project", result.session.claim_url
    if result.paid_messages:
        about = "about " if result.credits_estimated else ""
        yield "credits", f"{about}{result.credits_spent:g} for {result.paid_messages} message(s)"


def print_batch(batch: Batch) -> None:
    """Print all that a person wants to know of a batch."""
    out = console()
    flags = [word for word, on in (("paused", batch.paused), ("unsealed", not batch.sealed)) if on]
    out.print(
        f"{batch.batch_id}  {printable(batch.name)}  {' '.join(flags)}".rstrip(), style="bold"
    )
    out.print(f"  {batch_summary(batch)}")
    if not batch.sealed:
        out.print("  its manifest is not wholly in: submit it again, unless that is still going on")
    if batch.blocked_by:
        out.print(f"  waits for the decision about {batch.blocked_by}: its outcome is unknown")
    for reason, n in batch.held_by.items():
        out.print(f"  held: {reason} {n}")


def batch_summary(batch: Batch) -> str:
    """A batch's counters in a line."""
    counts = ("queued", "running", "held", "succeeded", "failed", "cancelled")
    parts = [f"{getattr(batch, name)} {name}" for name in counts if getattr(batch, name)]
    eta = f", about {batch.eta_seconds:.0f} s to go" if batch.eta_seconds else ""
    return f"{batch.total} jobs: {', '.join(parts) or 'none'}{eta}"
