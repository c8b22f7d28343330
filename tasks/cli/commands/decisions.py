"""The commands that decide about jobs: ``release``, ``retry``, ``redo`` and ``cancel``."""

import os
import sys
from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Final

import typer

from tasks.cli.error_handling import CommandError, ExitCode
from tasks.cli.options import HOW_TO_NAME, AnyId, JsonOption, KeyOption, WaitOption
from tasks.cli.output import console, emit, note, print_submission
from tasks.cli.waiting import exit_with_results
from tasks.producer import actions, queries
from tasks.producer.actions import Change
from tasks.producer.budget import set_budget
from tasks.producer.names import Named, find, find_batch
from tasks.producer.producer import Producer, default_producer
from tasks.producer.redo import redo as redo_job
from tasks.producer.redo import redo_batch
from tasks.schema.errors import InvalidPayloadError
from tasks.schema.submission import Submission
from worker.ledger.model.states import HOLD_REASONS, Reason, State

_DECIDED: Final = "For jobs held as outcome_unknown, session_lost or question."
_HOLD_REASONS: Final = [reason for reason in Reason if reason in HOLD_REASONS]
_REDOABLE: Final = (State.FAILED, State.CANCELLED, State.SUCCEEDED, State.HELD)

CHOICE_NEEDED: Final = (
    "A message may have been paid for already. Choose `--as-done` to take the project's draft as "
    "it is, or `--pay-again` to pay for a new one."
)
OBSTACLES: Final = frozenset({"budget", "plan", "blocked", "refused", "unreadable"})
"""Reasons for which a release alone cannot resume a job."""
SKIP_REASONS: Final = {
    "ended": "already ended",
    "continues": "continue to their clips, because they are paid for",
    "other_reason": "held for another reason",
    "gone": "deleted",
    "paid": "held after they were paid for (add --yes to give up their clips)",
    "budget": "over their batch's budget (add --max-credits CREDITS to raise it)",
    "plan": "of an account whose plan refuses exports (once it allows them: --reason plan)",
    "blocked": "blocked by another job (`reelqueue status` names it; decide about that one)",
    "not_held": "not held",
    "not_failed": "not failed",
    "needs_choice": "that need a decision",
    "refused": "to which this decision does not apply (`reelqueue status` says why they are held)",
    "unreadable": "still unreadable (run `reelqueue doctor` for the reason)",
}


def _hold_reason(text: str) -> Reason:
    """Read a reason for which jobs can be held.

    Raises:
        ValueError: It is none.
    """
    if text in _HOLD_REASONS:
        return Reason(text)
    listed = ", ".join(_HOLD_REASONS)
    if text in set(Reason):
        raise ValueError(
            f"jobs fail as {text}, and are not held for it: `reelqueue retry` continues failed "
            f"jobs. The reasons for holds are {listed}"
        )
    raise ValueError(f"must be one of {listed}")


def release(
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID…", help=f"Held jobs, or batches with held jobs: {HOW_TO_NAME}."),
    ] = None,
    *,
    reason: Annotated[
        Reason | None,
        typer.Option(
            metavar="REASON",
            parser=_hold_reason,
            autocompletion=lambda: [reason.value for reason in _HOLD_REASONS],
            help=f"Only jobs held for this reason: {', '.join(_HOLD_REASONS)}. Without ids, all "
            f"jobs held for it.",
            show_default="all reasons",
        ),
    ] = None,
    pay_again: Annotated[
        bool,
        typer.Option("--pay-again", help=f"Pay for a new message. {_DECIDED}"),
    ] = False,
    as_done: Annotated[
        bool,
        typer.Option(
            "--as-done", help=f"Take the project's current draft as the result. {_DECIDED}"
        ),
    ] = False,
    set_aside: Annotated[
        bool,
        typer.Option(
            "--set-aside",
            help="Instead of ids: try again to read records and messages that could not be read.",
        ),
    ] = False,
    max_credits: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="CREDITS",
            help="Of one batch: set the most that it may spend in total, and resume the jobs that "
            "were held for it.",
            show_default="unchanged",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Resume held jobs at their first unfinished step."""
    if set_aside == bool(ids or reason):
        raise CommandError("Give ids, --reason or both, or --set-aside.")
    if pay_again and as_done:
        raise CommandError("Give either --pay-again or --as-done.")
    mode = "pay_again" if pay_again else "as_done" if as_done else ""
    who = os.environ.get("USER", "the command line")
    producer = default_producer()
    if max_credits is not None:
        nothing = "it covers none of the jobs that are held for the budget"
        if len(ids or []) != 1 or mode or reason not in (None, Reason.BUDGET):
            raise CommandError("--max-credits is for one batch: give its id or name with it.")
        changes = [set_budget(producer, find_batch(producer, (ids or [])[0]), max_credits)]
    elif ids:
        nothing = f"none of its jobs is held{' for this reason' if reason else ''}"
        named = [find(producer, text).id for text in ids]
        changes = [
            actions.release(producer, any_id, mode=mode, who=who, reason=reason) for any_id in named
        ]
    elif reason is not None:
        nothing = "no job is held for this reason"
        changes = [actions.release_reason(producer, reason, mode=mode, who=who)]
    else:
        nothing = "nothing is set aside"
        changes = [actions.release_set_aside(producer)]
    for change in changes:
        _print_change(change, as_json=as_json, nothing=nothing)
    undecided = any(change.skipped.get("needs_choice") for change in changes)
    if undecided:
        note(CHOICE_NEEDED)
    refused = any(change.skipped.keys() & OBSTACLES for change in changes)
    if (undecided or refused) and not any(change.changed for change in changes):
        raise typer.Exit(ExitCode.BAD_INPUT)


def retry(any_id: AnyId, as_json: JsonOption = False) -> None:
    """Retry a failed job, or the failed jobs of a batch.

    A job that has been paid for continues where it failed and is not paid for again.
    """
    producer = default_producer()
    any_id = find(producer, any_id).id
    change = actions.retry(producer, any_id)
    _print_change(change, as_json=as_json, nothing="none of its jobs has failed")
    if change.skipped.get("not_failed") and not change.changed:
        job = queries.get(producer, any_id)
        if job.state is State.HELD and job.reason is not None:
            raise CommandError(f"The job is held, not failed. {job.reason.remedy}")


def redo(
    ids: Annotated[
        list[str],
        typer.Argument(
            metavar="JOB…",
            help=f"Jobs that have ended or are held, or batches: {HOW_TO_NAME}.",
        ),
    ],
    *,
    state: Annotated[
        list[State] | None,
        typer.Option(
            metavar="STATE",
            help=f"Of a batch: only jobs in this state: {', '.join(_REDOABLE)}. Repeatable.",
            show_default="failed",
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="New prompt. {column} stands for the job's value in a column of its manifest.",
            show_default="the job's prompt",
        ),
    ] = None,
    key: KeyOption = None,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make clips of the same images again, as new jobs that are paid for.

    The redo of a batch makes its failed jobs again, or those in each --state. Repeating a redo
    before it has ended returns the same job. Use --key to get another one.
    """
    producer = default_producer()
    named = [find(producer, text) for text in ids]
    if key is not None and (len(named) > 1 or named[0].is_batch):
        raise CommandError("--key is for one job: give one id with it.")
    states = frozenset(state or [State.FAILED])
    if not states.issubset(_REDOABLE):
        raise CommandError(f"--state: only {', '.join(_REDOABLE)} jobs can be made again.")
    new_ids, problems = [], []
    for old_id, answer in _redone(producer, named, prompt, key, states):
        if isinstance(answer, InvalidPayloadError):
            problems.append(f"{old_id}: {answer}")
            continue
        new_ids.append(answer.job_id)
        if not wait:
            print_submission(answer, f"redo of {old_id}", as_json=as_json)
    for problem in problems:
        note(problem)
    if not new_ids and not problems:
        note(f"The batch has no {' or '.join(sorted(states))} jobs: nothing is made again.")
    if wait and new_ids:
        exit_with_results(producer, new_ids, as_json=as_json)
    raise typer.Exit(ExitCode.BAD_INPUT if problems else ExitCode.DONE)


def _redone(
    producer: Producer,
    named: Sequence[Named],
    prompt: str | None,
    key: str | None,
    states: Collection[State],
) -> Iterator[tuple[str, Submission | InvalidPayloadError]]:
    for one in named:
        if one.is_batch:
            yield from redo_batch(producer, one.id, prompt, states=states)
        else:
            yield one.id, redo_job(producer, one.id, prompt, key=key)


def cancel(
    any_id: AnyId,
    yes: Annotated[
        bool, typer.Option("--yes", help="Also cancel held jobs that were paid for.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Cancel a job, or the open jobs of a batch.

    A running job that was paid for continues and delivers its clip. To cancel a held job that was
    paid for gives up its clip: on a terminal the command asks first, elsewhere it needs --yes.
    """
    producer = default_producer()
    any_id = find(producer, any_id).id
    change = actions.cancel(producer, any_id, confirmed=yes)
    paid = change.skipped.get("paid", 0)
    if paid and not as_json and sys.stdin.isatty():
        question = f"{paid} held jobs were paid for. Cancel them and give up their clips?"
        if typer.confirm(question, err=True):
            change = actions.cancel(producer, any_id, confirmed=True)
            paid = 0
    _print_change(change, as_json=as_json, done="cancelled")
    if paid and not change.changed:
        raise CommandError(f"{any_id}: held after it was paid for. Add --yes to give up its clip.")


def _print_change(
    change: Change, *, as_json: bool, done: str = "changed", nothing: str = ""
) -> None:
    """Print what an action changed.

    Args:
        change: The result of the action.
        as_json: Whether it is printed as JSON.
        done: What was done to the changed jobs.
        nothing: Why no job was changed, if none was skipped.
    """
    if as_json:
        emit(change.as_dict())
        return
    skipped = "".join(f", {n} {SKIP_REASONS.get(why, why)}" for why, n in change.skipped.items())
    why = f": {nothing}" if nothing and not change.changed and not skipped else ""
    console().print(f"{change.id}  {change.changed} {done}{skipped}{why}")
