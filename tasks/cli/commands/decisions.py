"""Steering: retry, release and cancel jobs and batches."""

import os
from typing import Annotated, Final

import typer

from tasks.cli.error_handling import CommandError, ExitCode
from tasks.cli.output import Json, console, emit, note
from tasks.cli.progress import exit_with_results
from tasks.producer import actions, queries
from tasks.producer.actions import Change
from tasks.producer.producer import Producer, default_producer
from tasks.producer.redo import redo as remake
from worker.ledger.model.states import HOLD_REASONS, Reason, State

_HOLD_REASONS: Final = [reason for reason in Reason if reason in HOLD_REASONS]

AnyId = Annotated[str, typer.Argument(metavar="ID", help="Id of a job or a batch.")]

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
    """Try a failed job, or the failed jobs of a batch, again.

    A job that has been paid for goes on where it failed and is not paid again.
    """
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
    ids: Annotated[
        list[str], typer.Argument(metavar="JOB…", help="Ids of jobs that have ended or are held.")
    ],
    *,
    prompt: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="New prompt. {column} stands for the job's value in a column of its manifest.",
            show_default="the job's prompt",
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Idempotency key: the same key is the same new job. For one job.",
            show_default="the same redo before it ends is the same new job",
        ),
    ] = None,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Wait until the new jobs end or are held; print the results."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Make clips of the same images again, as new jobs that are paid for.

    Repeating a redo before it ends returns the same new job; use --key for another one.
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
    """Cancel a job, or the open jobs of a batch.

    A job that has been paid for goes on and delivers its clip.
    """
    _tell(actions.cancel(default_producer(), any_id), as_json=as_json)


def release(
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID…", help="Ids of held jobs, or of batches with held jobs."),
    ] = None,
    *,
    reason: Annotated[
        Reason | None,
        typer.Option(
            metavar="REASON",
            help=f"Instead of ids: all jobs held for this reason: {', '.join(_HOLD_REASONS)}.",
            show_default="the ids given",
        ),
    ] = None,
    pay_again: Annotated[
        bool,
        typer.Option("--pay-again", help="Of jobs held as outcome_unknown: pay for a new clip."),
    ] = False,
    as_done: Annotated[
        bool,
        typer.Option(
            "--as-done", help="Of jobs held as outcome_unknown: take the session's draft as it is."
        ),
    ] = False,
    set_aside: Annotated[
        bool,
        typer.Option(
            "--set-aside", help="Instead of ids: read all records again that could not be read."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Resume held jobs at their first unfinished step."""
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
