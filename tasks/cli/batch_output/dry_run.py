"""A dry run for people: its rejected and changed rows, and a table."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.table import Table
from rich.text import Text

from tasks.cli.batch_output.submission import known_states, note_changed, note_rejected
from tasks.cli.output import table_console
from tasks.cli.time_left import expected_time
from tasks.manifests.dry_runs.dry_run import DryRun
from worker.shown_text import on_one_line

MOST_LEFT_OUT: Final = 10
"""The most files that are named among those that are not submitted."""


def print_dry_run(plan: DryRun, aspects: Sequence[str], *, redo_changed: bool) -> None:
    """Print a dry run.

    Args:
        plan: The dry run.
        aspects: The aspects in which rows without one of their own are made.
        redo_changed: Whether changed rows are made again.
    """
    note_rejected(plan.rejected)
    note_changed(plan.changed_rows, redo_changed=redo_changed)
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for label, text in _lines(plan, aspects, redo_changed=redo_changed):
        grid.add_row(label, Text(on_one_line(text)))
    table_console().print(grid)


def _lines(
    plan: DryRun, aspects: Sequence[str], *, redo_changed: bool
) -> Iterator[tuple[str, str]]:
    """Yield the lines of the table, as label and text."""
    yield "rows", f"{plan.rows:,}: {plan.good:,} good, {len(plan.rejected):,} rejected"
    if plan.duplicates:
        known = f" ({known_states(plan.known)})" if plan.known else ""
        yield "duplicates", f"{plan.duplicates:,} already submitted or repeated{known}"
    if plan.changed:
        yield (
            "changed",
            f"{plan.changed:,} have a clip, or have paid, for earlier content: "
            + ("they are made and paid again" if redo_changed else "they keep it (--redo-changed)"),
        )
    used = [
        name if field in ("", name.strip().lower()) else f"{name} (as {field})"
        for name, field in plan.columns.used.items()
    ]
    if used:
        yield "columns", f"used: {', '.join(used)}"
        yield "", f"only returned in the results: {', '.join(plan.columns.ignored) or 'none'}"
    if plan.encoding is not None:
        yield "encoding", plan.encoding
    yield from _left_out(plan)
    if len(aspects) > 1:
        listed = ", ".join(aspects)
        yield "aspects", f"rows without one are made in {len(aspects)}: {listed}"
    yield "new jobs", f"{plan.jobs:,}"
    yield "credits", f"about {plan.credits:,g} needed"
    yield from _funds(plan)
    if plan.jobs:
        yield "time", expected_time(plan.seconds, plan.latest_seconds)
    for number, prompt in enumerate(plan.prompts):
        yield "" if number else "prompts", prompt
    for number, suggestion in enumerate(plan.suggestions):
        yield "" if number else "suggestions", suggestion


def _left_out(plan: DryRun) -> Iterator[tuple[str, str]]:
    if not plan.left_out:
        return
    named = "; ".join(f"{one['name']}: {one['reason']}" for one in plan.left_out[:MOST_LEFT_OUT])
    more = "; …" if len(plan.left_out) > MOST_LEFT_OUT else ""
    yield "left out", f"{len(plan.left_out):,} of the folder. {named}{more}"


def _funds(plan: DryRun) -> Iterator[tuple[str, str]]:
    if plan.available is None:
        yield "", "the balance is not known yet: `reelqueue credits` reads it"
    else:
        yield "", f"{plan.available:,g} available"
    if plan.max_credits is not None:
        yield "", f"--max-credits {plan.max_credits:,g}"
    if plan.affordable is not None:
        clips = f"{plan.affordable:,} {'clip' if plan.affordable == 1 else 'clips'}"
        enough = "" if plan.affordable >= plan.jobs else f", not for all {plan.jobs:,}"
        yield "", f"enough for {clips}{enough}"
