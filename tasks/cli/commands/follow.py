"""The commands that show jobs and batches: ``status``, ``watch`` and ``list``."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated

import typer

from tasks.cli.error_handling import ExitCode
from tasks.cli.options import AnyIds, JsonOption
from tasks.cli.output import STATE_STYLES, console, emit, note, print_record, table, truncated
from tasks.cli.waiting import wait_until_done
from tasks.producer import queries
from tasks.producer.producer import Producer, default_producer
from tasks.schema.batch import Batch
from tasks.schema.errors import UnknownId
from tasks.schema.result import Result
from worker.ledger.model.states import Reason, State
from worker.telemetry.start_blockage import start_blockage


def status(ids: AnyIds, as_json: JsonOption = False) -> None:
    """Print the records of jobs or batches, in the order given."""
    producer = default_producer()
    unknown = False
    for any_id in ids:
        try:
            is_batch = queries.is_batch(producer, any_id)
            get = queries.get_batch if is_batch else queries.get
            record = get(producer, any_id)
            print_record(record, as_json=as_json)
            if isinstance(record, Batch) and record.queued and not record.paused:
                with producer.redis_errors():
                    blockage = start_blockage(producer.ledger)
                if blockage is not None:
                    note(str(blockage))
        except UnknownId as error:
            note(str(error))
            unknown = True
    raise typer.Exit(ExitCode.BAD_INPUT if unknown else ExitCode.DONE)


def watch(ids: AnyIds, as_json: JsonOption = False) -> None:
    """Show the progress of jobs or batches until each has ended or is held."""
    records = wait_until_done(default_producer(), ids, quiet=as_json)
    if as_json:
        for any_id in ids:
            emit(records[any_id])


def list_(
    *,
    batches: Annotated[
        bool, typer.Option("--batches", help="List batches instead of jobs.")
    ] = False,
    batch: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Only jobs of this batch.", show_default="all jobs"),
    ] = None,
    state: Annotated[
        list[State] | None,
        typer.Option(
            metavar="STATE",
            help=f"Only jobs in this state: {', '.join(State)}. Repeatable.",
            show_default="all states",
        ),
    ] = None,
    reason: Annotated[
        Reason | None,
        typer.Option(
            metavar="REASON",
            help=f"Only jobs held or failed for this reason: {', '.join(Reason)}.",
            show_default="all reasons",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Print at most this many.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """List jobs or batches, newest first.

    The jobs of one batch are listed in the order of its rows.
    """
    producer = default_producer()
    if batches:
        for record in islice(queries.list_batches(producer), limit):
            print_record(record, as_json=as_json)
        return
    found = islice(_matching(_jobs(producer, batch), state or [], reason), limit)
    if as_json:
        for result in found:
            emit(result)
        return
    grid = table("job", "state", "reason", "image", "prompt")
    for result in found:
        code = result.reason.code if result.reason else ""
        image, prompt = truncated(result.image), truncated(result.prompt)
        style = STATE_STYLES.get(result.state)
        grid.add_row(result.job_id, result.state, code, image, prompt, style=style)
    console().print(grid)


def _jobs(producer: Producer, batch_id: str | None) -> Iterator[Result]:
    if batch_id is None:
        return queries.list_jobs(producer)
    queries.get_batch(producer, batch_id)
    return queries.list_batch_jobs(producer, batch_id)


def _matching(
    results: Iterable[Result], states: list[State], reason: Reason | None
) -> Iterator[Result]:
    for result in results:
        if states and result.state not in states:
            continue
        if reason is None or (result.reason and result.reason.code is reason):
            yield result
