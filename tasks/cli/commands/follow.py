"""The commands that show jobs and batches: ``status``, ``watch`` and ``list``."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Annotated, Final

import typer

from tasks.cli.batch_output.held_jobs import print_held_of_all, print_held_of_batch
from tasks.cli.error_handling import ExitCode
from tasks.cli.job_table import print_jobs
from tasks.cli.options import HOW_TO_NAME_A_BATCH, AnyIds, JsonOption
from tasks.cli.output import emit, note, print_record
from tasks.cli.waiting import note_paused, wait_until_done
from tasks.producer import queries
from tasks.producer.names import find, find_batch
from tasks.producer.producer import Producer, default_producer
from tasks.schema.batch import Batch
from tasks.schema.errors import UnknownId
from tasks.schema.result import Result
from worker.ledger.model.states import RUNNING, Reason, State
from worker.telemetry.start_blockage import start_blockage

_STATES: Final[Mapping[str, Collection[State]]] = {
    **{state.value: (state,) for state in State},
    "running": RUNNING,
    "open": {State.QUEUED, *RUNNING},
}
"""The states by the names that ``list --state`` takes: their own, and those of a batch's counts."""


def status(ids: AnyIds, as_json: JsonOption = False) -> None:
    """Print the records of jobs or batches, in the order given."""
    producer = default_producer()
    unknown = False
    for text in ids:
        try:
            named = find(producer, text)
            get = queries.get_batch if named.is_batch else queries.get
            record = get(producer, named.id)
            print_record(record, as_json=as_json)
            if isinstance(record, Batch) and not as_json:
                print_held_of_batch(record)
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
    """Show the progress of jobs or batches until each has ended or is held.

    A paused batch does not continue by itself: the exit status is then 4.
    """
    producer = default_producer()
    names = [find(producer, text).id for text in ids]
    records = wait_until_done(producer, names, quiet=as_json)
    batches = [record for record in records.values() if isinstance(record, Batch)]
    if as_json:
        for any_id in names:
            emit(records[any_id])
    else:
        for batch in batches:
            print_held_of_batch(batch)
    paused = [batch for batch in batches if note_paused(batch)]
    raise typer.Exit(ExitCode.JOB_HELD if paused else ExitCode.DONE)


def _state_name(text: str) -> str:
    """Read the name of a state, or of the states that are counted under one name.

    Raises:
        ValueError: There is no such name.
    """
    if text not in _STATES:
        raise ValueError(f"must be one of {', '.join(_STATES)}")
    return text


def list_(
    *,
    batches: Annotated[
        bool, typer.Option("--batches", help="List batches instead of jobs.")
    ] = False,
    batch: Annotated[
        str | None,
        typer.Option(
            metavar="BATCH",
            help=f"Only jobs of this batch: {HOW_TO_NAME_A_BATCH}.",
            show_default="all jobs",
        ),
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STATE",
            parser=_state_name,
            autocompletion=lambda: list(_STATES),
            help=f"Only jobs in this state: {', '.join(State)}; or in one of several, as batches "
            "count them: running (from preparing to delivering) or open (queued or running). "
            "Repeatable.",
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
        listed = queries.list_batches(producer)
        for record in islice(listed, limit):
            print_record(record, as_json=as_json)
        _note_rest(listed, limit, "batches")
        return
    batch_id = None if batch is None else find_batch(producer, batch)
    all_jobs = queries.list_jobs(producer)
    jobs = all_jobs if batch_id is None else queries.list_batch_jobs(producer, batch_id)
    states = {found for name in state or [] for found in _STATES[name]}
    found = _matching(jobs, states, reason)
    if as_json:
        for result in islice(found, limit):
            emit(result)
    else:
        _print_jobs(producer, list(islice(found, limit)), batch_id, reason)
    _note_rest(found, limit, "jobs")


def _print_jobs(
    producer: Producer, results: list[Result], batch_id: str | None, reason: Reason | None
) -> None:
    print_jobs(results)
    if all(result.state is not State.HELD for result in results):
        return
    if batch_id is None:
        print_held_of_all(producer, reason)
    else:
        print_held_of_batch(queries.get_batch(producer, batch_id))


def _note_rest(more: Iterator[object], limit: int, what: str) -> None:
    """Print a note if the limit has cut the list."""
    if next(more, None) is not None:
        note(f"There are more than {limit:,} {what}. Use --limit {limit * 10} to list more.")


def _matching(
    results: Iterable[Result], states: Collection[State], reason: Reason | None
) -> Iterator[Result]:
    for result in results:
        if states and result.state not in states:
            continue
        if reason is None or (result.reason and result.reason.code is reason):
            yield result
