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

from tasks.cli.error_handling import Exit
from tasks.cli.output import STYLES, Json, console, emit, note, plain, short, summary, tell_result
from tasks.producer.producer import POLL_SECONDS, Producer, default_producer
from tasks.schema.errors import RedisUnavailable
from tasks.schema.payload import Batch, Result

OUTAGE_SECONDS: Final = 60.0
"""How long Redis may be away before a watcher gives up. The jobs do not."""

Snapshot = Mapping[str, Result | Batch]
Show = Callable[[Snapshot], None]


def watch(
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="Jobs or batches.")],
    as_json: Json = False,
) -> None:
    """Follow jobs or batches until each is at an end, or held."""
    found = settle(default_producer(), ids, quiet=as_json)
    if as_json:
        for any_id in ids:
            emit(found[any_id])


def settle(producer: Producer, ids: Iterable[str], *, quiet: bool) -> dict[str, Result | Batch]:
    """Wait until each job or batch is at an end or held, and return what became of them.

    Args:
        producer: Where they are.
        ids: Jobs or batches.
        quiet: Show nothing meanwhile.

    Raises:
        UnknownId: One is neither a job nor a batch.
        RedisUnavailable: Redis was away for too long.
    """
    kinds = {any_id: producer.is_batch(any_id) for any_id in dict.fromkeys(ids)}
    found: dict[str, Result | Batch] = {}
    with _silence() if quiet else _display(console()) as show:
        for _ in _rounds(producer):
            moving = [any_id for any_id in kinds if any_id not in found or _moves(found[any_id])]
            if not moving:
                return found
            jobs = [any_id for any_id in moving if not kinds[any_id]]
            found |= {result.job_id: result for result in producer.get_many(jobs)}
            found |= {id_: producer.get_batch(id_) for id_ in moving if kinds[id_]}
            show({any_id: found[any_id] for any_id in kinds})
    return found


def tell_ends(producer: Producer, job_ids: Sequence[str], *, as_json: bool) -> NoReturn:
    """Wait for jobs, print what became of them in the order asked, and end the command."""
    found = settle(producer, job_ids, quiet=as_json)
    for job_id in job_ids:
        result = found[job_id]
        assert isinstance(result, Result)  # noqa: S101 - only jobs were waited for
        if as_json:
            emit(result)
        else:
            tell_result(result)
    raise typer.Exit(verdict(found.values()))


def verdict(found: Iterable[Result | Batch]) -> Exit:
    """How a command ends that waited for these."""
    codes = {_verdict(record) for record in found}
    return next(
        (code for code in (Exit.JOB_FAILED, Exit.JOB_HELD) if code in codes),
        Exit.DONE,
    )


def _verdict(record: Result | Batch) -> Exit:
    if isinstance(record, Batch):
        failed, held = record.failed, record.held
    else:
        failed, held = record.state == "failed", record.state == "held"
    if failed:
        return Exit.JOB_FAILED
    return Exit.JOB_HELD if held else Exit.DONE


def _moves(record: Result | Batch) -> bool:
    if isinstance(record, Batch):
        if record.paused and not record.running:
            # A pilot is over, or a person has paused it: nothing goes on by itself.
            return not record.sealed
        return record.open > 0 or not record.sealed
    return not record.ended_or_held


def _rounds(producer: Producer) -> Iterator[None]:
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
def _silence() -> Iterator[Show]:
    yield lambda _: None


@contextmanager
def _display(out: Console) -> Iterator[Show]:
    """A picture that changes on a terminal; elsewhere a line for each change."""
    if not out.is_terminal:
        yield _Lines(out).show
        return
    with Live(console=out, auto_refresh=False) as live:
        yield lambda snapshot: live.update(_picture(snapshot), refresh=True)


class _Lines:
    """One line for each change, for logs and pipes."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._told: dict[str, str] = {}

    def show(self, snapshot: Snapshot) -> None:
        """Print what is new."""
        for any_id, record in snapshot.items():
            line = _line(record)
            if self._told.get(any_id) != line:
                self._told[any_id] = line
                self._out.print(f"{any_id}  {line}")


def _line(record: Result | Batch) -> str:
    if isinstance(record, Batch):
        # The estimate changes with every look; a log wants the counts.
        return summary(record.model_copy(update={"eta_seconds": None}))
    return f"{record.state}  {plain(_word(record))}"


def _word(result: Result) -> str:
    if result.video:
        return result.video.path or result.video.url
    if result.reason:
        return f"{result.reason.code}: {result.reason.message} {result.reason.remedy}"
    return result.progress.message


def _picture(snapshot: Snapshot) -> RenderableType:
    jobs, batches = Table.grid(padding=(0, 2)), Table.grid(padding=(0, 2))
    for record in snapshot.values():
        if isinstance(record, Batch):
            done = record.total - record.open
            bar = ProgressBar(total=max(1, record.total), completed=done, width=30)
            batches.add_row(Text(short(record.name, 30)), bar, Text(summary(record)))
        else:
            style = STYLES.get(record.state, "bold")
            jobs.add_row(
                Text(record.job_id[:8]),
                Text(short(record.image, 30)),
                Text(record.state.value, style=style),
                Text(plain(_word(record))),
            )
    return Group(*(grid for grid in (batches, jobs) if grid.row_count))
