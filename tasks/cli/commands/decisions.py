"""Steering: retry, release and cancel jobs and batches."""

import os
from typing import Annotated, Final

import typer

from tasks.cli.commands.watch import exit_with_results
from tasks.cli.error_handling import CommandError, ExitCode
from tasks.cli.output import Json, console, emit, note
from tasks.producer import actions, queries
from tasks.producer.actions import Change
from tasks.producer.producer import Producer, default_producer
from tasks.producer.redo import redo as remake
from worker.ledger.model.states import Reason, State

AnyId = Annotated[str, typer.Argument(metavar="ID", help="A job or a batch.")]

CHOICE_NEEDED: Final = (
    "It may have been paid for already, so choose: `--as-done` takes the project's present draft, "
    "`--pay-again` pays for a new one."
)
SKIP_REASONS: Final = {
    "ended": "at an end already",
    "gone": "no longer there",
    "not_held": "not held",
    "not_failed": "not failed",
    "needs_choice": "of unknown outcome",
    "refused": "not a matter of that choice",
    "unreadable": "still not to be read (`reelqueue doctor` tells why)",
}


def retry(any_id: AnyId, as_json: Json = False) -> None:
    """Let a failed job, or the failed ones of a batch, go on; nothing is paid twice."""
    producer = default_producer()
    change = actions.retry(producer, any_id)
    _tell(change, as_json=as_json)
    if change.skipped.get("not_failed") and not change.changed:
        _fail_if_held(producer, any_id)


def _fail_if_held(producer: Producer, job_id: str) -> None:
    job = queries.get(producer, job_id)
    if job.state is State.HELD and job.reason is not None:
        raise CommandError(f"It is held, not failed. {job.reason.remedy}")


def redo(
    ids: Annotated[list[str], typer.Argument(metavar="JOB…", help="Jobs at an end, or held.")],
    *,
    prompt: Annotated[
        str | None, typer.Option(help="What is asked for this time; {column} is filled in.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Idempotency key; for one job.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the new clips.")] = False,
    as_json: Json = False,
) -> None:
    """Make clips anew, as new, newly paid jobs.

    The same asked for again before it is done is the same job; --key makes it another.
    """
    if key is not None and len(ids) > 1:
        raise CommandError("--key names one job: give one job with it.")
    producer = default_producer()
    made = []
    for job_id in ids:
        again = remake(producer, job_id, prompt, key=key)
        made.append(again.job_id)
        if wait:
            continue
        if as_json:
            emit(again.as_dict())
        else:
            known = "  (known already)" if again.duplicate else ""
            console().print(f"{again.job_id}  {again.state}  in place of {job_id}{known}")
    if wait:
        exit_with_results(producer, made, as_json=as_json)


def cancel(any_id: AnyId, as_json: Json = False) -> None:
    """End a job or a batch; what is paid goes on to its clip."""
    _tell(actions.cancel(default_producer(), any_id), as_json=as_json)


def release(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID…", help="Held jobs, or batches.")
    ] = None,
    *,
    reason: Annotated[Reason | None, typer.Option(help="All that are held for it.")] = None,
    pay_again: Annotated[
        bool, typer.Option("--pay-again", help="Unknown outcome: pay for a new generation.")
    ] = False,
    as_done: Annotated[
        bool, typer.Option("--as-done", help="Unknown outcome: take the present draft.")
    ] = False,
    set_aside: Annotated[
        bool, typer.Option("--set-aside", help="All that could not be read, and can be now.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Let held jobs go on, at the first thing that is missing."""
    if [bool(ids), bool(reason), set_aside].count(True) != 1:
        raise CommandError("Name jobs or batches, or give --reason or --set-aside: one of them.")
    if pay_again and as_done:
        raise CommandError("Choose one of --pay-again and --as-done.")
    mode = "pay_again" if pay_again else "as_done" if as_done else ""
    who = os.environ.get("USER", "the command line")
    producer = default_producer()
    if reason is not None:
        changes = [actions.release_reason(producer, reason, mode=mode, who=who)]
    elif set_aside:
        changes = [actions.release_set_aside(producer)]
    else:
        changes = [actions.release(producer, any_id, mode=mode, who=who) for any_id in ids or []]
    for change in changes:
        _tell(change, as_json=as_json)
    undecided = any(change.skipped.get("needs_choice") for change in changes)
    if undecided:
        note(CHOICE_NEEDED)
    refused = any(change.skipped.keys() & {"refused", "unreadable"} for change in changes)
    if (undecided or refused) and not any(change.changed for change in changes):
        raise typer.Exit(ExitCode.BAD_INPUT)


def _tell(change: Change, *, as_json: bool) -> None:
    if as_json:
        emit(change.as_dict())
        return
    skipped = "".join(f", {n} {SKIP_REASONS.get(why, why)}" for why, n in change.skipped.items())
    console().print(f"{change.id}  {change.changed} changed{skipped}")
