"""Progress of jobs and batches: a live view on a terminal, a line per change elsewhere."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tasks.cli.output import STATE_STYLES, batch_summary, truncated
from tasks.cli.time_left import time_left
from tasks.schema.batch import Batch
from tasks.schema.result import Result
from worker.shown_text import on_one_line

Records = Mapping[str, Result | Batch]
"""The records of jobs and batches by id."""
Show = Callable[[Records], None]


@contextmanager
def show_progress(out: Console, *, quiet: bool) -> Iterator[Show]:
    """Yield a function that shows records, in place on a terminal and else a line per change.

    If ``quiet``, it shows nothing.
    """
    if quiet:
        yield lambda _: None
    elif not out.is_terminal:
        yield _ChangeLog(out).show
    else:
        with Live(console=out, auto_refresh=False) as live:
            yield lambda records: live.update(_live_view(records), refresh=True)


class _ChangeLog:
    """Prints one line for each change, for logs and pipes."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._printed: dict[str, str] = {}

    def show(self, records: Records) -> None:
        for any_id, record in records.items():
            line = _log_line(record)
            if self._printed.get(any_id) != line:
                self._printed[any_id] = line
                self._out.print(f"{any_id}  {line}")


def _log_line(record: Result | Batch) -> str:
    if isinstance(record, Batch):
        # Without the time left: it changes at each poll, and would print a line each time.
        return batch_summary(record)
    return f"{record.state}  {on_one_line(_detail(record))}"


def _summary_with_time(batch: Batch) -> str:
    return ", ".join(filter(None, (batch_summary(batch), time_left(batch))))


def _detail(result: Result) -> str:
    if result.video:
        return result.video.path or result.video.url
    if result.reason:
        return f"{result.reason.code}: {result.reason.message} {result.reason.remedy}"
    return result.progress.message


def _live_view(records: Records) -> RenderableType:
    jobs, batches = Table.grid(padding=(0, 2)), Table.grid(padding=(0, 2))
    for record in records.values():
        if isinstance(record, Batch):
            done = record.total - record.open
            bar = ProgressBar(total=max(1, record.total), completed=done, width=30)
            batches.add_row(Text(truncated(record.name, 30)), bar, Text(_summary_with_time(record)))
        else:
            jobs.add_row(
                Text(record.job_id[:8]),
                Text(truncated(record.image, 30)),
                Text(record.state, style=STATE_STYLES.get(record.state, "bold")),
                Text(on_one_line(_detail(record))),
            )
    return Group(*(grid for grid in (batches, jobs) if grid.row_count))
