"""Watching: one line a job and a bar for a batch, until nothing moves any more."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Final, NoReturn

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tasks.cli.error_handling import ExitCode
from tasks.cli.output import (
    STATE_STYLES,
    Json,
    batch_summary,
    console,
    emit,
    note,
    print_result,
    printable,
    truncated,
)
from tasks.producer import queries
from tasks.producer.producer import Producer, default_producer
from tasks.producer.queries import POLL_SECONDS
from tasks.schema.batch import Batch
from tasks.schema.errors import RedisUnavailable
from tasks.schema.result import Result

OUTAGE_SECONDS: Final = 60.0
"""How long Redis may be away before a watcher gives up. The jobs do not."""

Snapshot = Mapping[str, Result | Batch]
Display = Callable[[Snapshot], None]


def watch(
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="Ids of jobs or batches.")],
    as_json: Json = False,
) -> None:
    """Show the progress of jobs or batches until each has ended or is held."""
    found = wait_until_done(default_producer(), ids, quiet=as_json)
    if as_json:
        for any_id in ids:
            emit(found[any_id])


def wait_until_done(
    producer: Producer, ids: Iterable[str], *, quiet: bool
) -> dict[str, Result | Batch]:
    """Wait until each job or batch is at an end or held, and return what became of them.

    Args:
        producer: Where they are.
        ids: Jobs or batches.
        quiet: Show nothing meanwhile.

    Raises:
        UnknownId: One is neither a job nor a batch.
        RedisUnavailable: Redis was away for too long.
    """
    kinds = {any_id: queries.is_batch(producer, any_id) for any_id in dict.fromkeys(ids)}
    found: dict[str, Result | Batch] = {}
    with _no_display() if quiet else _display(console()) as show:
        for _ in _polls(producer):
            moving = [
                any_id for any_id in kinds if any_id not in found or _is_pending(found[any_id])
            ]
            if not moving:
                return found
            jobs = [any_id for any_id in moving if not kinds[any_id]]
            found |= {result.job_id: result for result in queries.get_many(producer, jobs)}
            found |= {id_: queries.get_batch(producer, id_) for id_ in moving if kinds[id_]}
            show({any_id: found[any_id] for any_id in kinds})
    return found


def exit_with_results(producer: Producer, job_ids: Sequence[str], *, as_json: bool) -> NoReturn:
    """Wait for jobs, print what became of them in the order asked, and end the command."""
    found = wait_until_done(producer, job_ids, quiet=as_json)
    for job_id in job_ids:
        result = found[job_id]
        assert isinstance(result, Result)  # noqa: S101 - only jobs were waited for
        if as_json:
            emit(result)
        else:
            print_result(result)
    raise typer.Exit(exit_code(found.values()))


def exit_code(found: Iterable[Result | Batch]) -> ExitCode:
    """How a command ends that waited for these."""
    codes = {_exit_code(record) for record in found}
    return next(
        (code for code in (ExitCode.JOB_FAILED, ExitCode.JOB_HELD) if code in codes),
        ExitCode.DONE,
    )


def _exit_code(record: Result | Batch) -> ExitCode:
    if isinstance(record, Batch):
        failed, held = record.failed, record.held
    else:
        failed, held = record.state == "failed", record.state == "held"
    if failed:
        return ExitCode.JOB_FAILED
    return ExitCode.JOB_HELD if held else ExitCode.DONE


def _is_pending(record: Result | Batch) -> bool:
    if isinstance(record, Batch):
        if record.paused and not record.running:
            # A pilot is over, or a person has paused it: nothing goes on by itself.
            return not record.sealed
        return record.open > 0 or not record.sealed
    return not record.ended_or_held


def _polls(producer: Producer) -> Iterator[None]:
    """Times to look, for ever; an outage of Redis is waited out."""
    pause = threading.Event()
    answered = time.monotonic()
    while True:
        try:
            producer.ping()
        except RedisUnavailable as error:
            if time.monotonic() - answered > OUTAGE_SECONDS:
                raise
            note(f"{error} Looking again.")
        else:
            answered = time.monotonic()
            yield
        pause.wait(POLL_SECONDS)


@contextmanager
def _no_display() -> Iterator[Display]:
    yield lambda _: None


@contextmanager
def _display(out: Console) -> Iterator[Display]:
    """A picture that changes on a terminal; elsewhere a line for each change."""
    if not out.is_terminal:
        yield _ChangeLog(out).show
        return
    with Live(console=out, auto_refresh=False) as live:
        yield lambda snapshot: live.update(_live_view(snapshot), refresh=True)


class _ChangeLog:
    """One line for each change, for logs and pipes."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._told: dict[str, str] = {}

    def show(self, snapshot: Snapshot) -> None:
        """Print what is new."""
        for any_id, record in snapshot.items():
            line = _log_line(record)
            if self._told.get(any_id) != line:
                self._told[any_id] = line
                self._out.print(f"{any_id}  {line}")


def _log_line(record: Result | Batch) -> str:
    if isinstance(record, Batch):
        # The estimate changes with every look; a log wants the counts.
        return batch_summary(record.model_copy(update={"eta_seconds": None}))
    return f"{record.state}  {printable(_detail(record))}"


def _detail(result: Result) -> str:
    if result.video:
        return result.video.path or result.video.url
    if result.reason:
        return f"{result.reason.code}: {result.reason.message} {result.reason.remedy}"
    return result.progress.message


def _live_view(snapshot: Snapshot) -> RenderableType:
    jobs, batches = Table.grid(padding=(0, 2)), Table.grid(padding=(0, 2))
    for record in snapshot.values():
        if isinstance(record, Batch):
            done = record.total - record.open
            bar = ProgressBar(total=max(1, record.total), completed=done, width=30)
            batches.add_row(Text(truncated(record.name, 30)), bar, Text(batch_summary(record)))
        else:
            style = STATE_STYLES.get(record.state, "bold")
            jobs.add_row(
                Text(record.job_id[:8]),
                Text(truncated(record.image, 30)),
                Text(record.state.value, style=style),
                Text(printable(_detail(record))),
            )
    return Group(*(grid for grid in (batches, jobs) if grid.row_count))
