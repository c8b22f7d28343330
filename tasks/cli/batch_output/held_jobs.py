"""Held jobs for people, grouped by reason, each group with one command that helps."""

from collections import Counter
from collections.abc import Iterable

from tasks.cli.output import STATE_STYLES, console
from tasks.producer.producer import Producer
from tasks.reports.held_groups import HeldGroup, held_groups
from tasks.schema.batch import Batch
from tasks.schema.result import Result
from worker.ledger.model.states import Reason, State
from worker.shown_text import on_one_line


def print_held_of_batch(batch: Batch) -> None:
    """Print the held jobs of a batch."""
    if not batch.held:
        return
    _print_groups(held_groups(batch.held_by, batch.batch_id, batch.blocked_by or ""))


def print_held_of_all(producer: Producer, reason: Reason | None) -> None:
    """Print all held jobs, or those that are held for a reason."""
    with producer.redis_errors():
        _, held_by = producer.ledger.counts()
    shown = {found: n for found, n in held_by.items() if reason in (None, found)}
    _print_groups(held_groups(shown))


def print_held_of_jobs(results: Iterable[Result]) -> None:
    """Print the held ones among some jobs, in groups, if there are several."""
    reasons = (job.reason for job in results if job.state is State.HELD)
    held_by = Counter(reason.code for reason in reasons if reason is not None)
    if held_by.total() > 1:
        _print_groups(held_groups(held_by))


def _print_groups(groups: Iterable[HeldGroup]) -> None:
    out = console()
    for group in groups:
        title = f"held: {group.reason} ({group.jobs} {'job' if group.jobs == 1 else 'jobs'})"
        out.print(title, style=STATE_STYLES[State.HELD])
        out.print(f"  {group.advice}")
        out.print(f"  {on_one_line(group.command)}")
