"""Waiting until jobs and batches have ended or are held, and the exit code that follows."""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NoReturn

import typer

from tasks.cli.batch_output.held_jobs import print_held_of_jobs
from tasks.cli.error_handling import ExitCode
from tasks.cli.output import console, note, print_record
from tasks.cli.progress import show_progress
from tasks.producer import queries
from tasks.producer.producer import Producer
from tasks.producer.queries import POLL_SECONDS
from tasks.schema.batch import Batch
from tasks.schema.errors import RedisUnavailable
from tasks.schema.result import Result
from worker.shown_text import on_one_line

OUTAGE_SECONDS: Final = 60.0
"""How long a command waits for a Redis that does not answer."""


def wait_until_done(
    producer: Producer, ids: Iterable[str], *, quiet: bool
) -> dict[str, Result | Batch]:
    """Wait until each job or batch has ended or is held, and return their records by id.

    Progress is shown on standard output unless ``quiet``.

    Raises:
        UnknownId: There is no job and no batch with one of the ids.
        RedisUnavailable: Redis has not answered for a minute.
    """
    batch_ids = {any_id: queries.is_batch(producer, any_id) for any_id in dict.fromkeys(ids)}
    records: dict[str, Result | Batch] = {}
    with show_progress(console(), quiet=quiet) as show:
        for _ in _polls(producer):
            pending = [id_ for id_ in batch_ids if id_ not in records or _is_pending(records[id_])]
            if not pending:
                break
            jobs = queries.get_many(producer, [id_ for id_ in pending if not batch_ids[id_]])
            records |= {result.job_id: result for result in jobs}
            records |= {id_: queries.get_batch(producer, id_) for id_ in pending if batch_ids[id_]}
            show({id_: records[id_] for id_ in batch_ids})
    return records


def exit_with_results(producer: Producer, job_ids: Sequence[str], *, as_json: bool) -> NoReturn:
    """Wait for jobs, print their results in the order given, and exit with the code for them."""
    records = wait_until_done(producer, job_ids, quiet=as_json)
    for job_id in job_ids:
        print_record(records[job_id], as_json=as_json)
    if not as_json:
        print_held_of_jobs(record for record in records.values() if isinstance(record, Result))
    raise typer.Exit(exit_code(records.values()))


def note_paused(batch: Batch) -> bool:
    """Print how to resume a batch if it is paused, and return whether it is."""
    if not (batch.paused and batch.queued):
        return False
    what = f'The batch "{on_one_line(batch.name)}" is paused, and {batch.queued} of its jobs wait.'
    if batch.blocked_by:
        note(f"{what} Decide about job {batch.blocked_by}: `reelqueue status {batch.blocked_by}`.")
    else:
        note(f"{what} Resume it with `reelqueue batch resume {batch.batch_id}`.")
    return True


def exit_code(records: Iterable[Result | Batch]) -> ExitCode:
    """Return the exit code of a command that has waited for jobs or batches."""
    codes = {_exit_code(record) for record in records}
    for code in (ExitCode.JOB_FAILED, ExitCode.JOB_HELD):
        if code in codes:
            return code
    return ExitCode.DONE


def _exit_code(record: Result | Batch) -> ExitCode:
    if isinstance(record, Batch):
        failed, held = record.failed, record.held
    else:
        failed, held = record.state == "failed", record.state == "held"
    if failed:
        return ExitCode.JOB_FAILED
    return ExitCode.JOB_HELD if held else ExitCode.DONE


def _is_pending(record: Result | Batch) -> bool:
    if isinstance(record, Result):
        return not record.ended_or_held
    if not record.sealed:
        return True
    # A paused batch, after a pilot for example, starts no jobs by itself.
    return record.running > 0 if record.paused else record.open > 0


def _polls(producer: Producer) -> Iterator[None]:
    """Yield at each poll.

    Raises:
        RedisUnavailable: Redis has not answered for a minute.
    """
    pause = threading.Event()
    answered = time.monotonic()
    while True:
        try:
            producer.ping()
        except RedisUnavailable as error:
            if time.monotonic() - answered > OUTAGE_SECONDS:
                raise
            note(f"{error} Trying again.")
        else:
            answered = time.monotonic()
            yield
        pause.wait(POLL_SECONDS)
