"""The commits that end a step: continue the job, hold it, fail it, or repeat the stage later."""

import random
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tasks.step.context import StepContext
from tasks.step.remedy_messages import remedy_message
from worker.accounts.credentials import ANONYMOUS
from worker.ledger.model.accounts import Account
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.policy import backoff_seconds

MAX_RENDERS: Final = 2
"""The most renders of a job. Source: docs/video-api.md, "Codes"."""
MAX_REPEAT_WAIT_SECONDS: Final = 60.0
"""The longest wait before a stage is repeated.

`worker.ledger.problems` forgets a problem that is not reported again for three times as long.
"""
NO_SESSION: Final = dict.fromkeys(
    ("session_id", "task_id", "bind_id", "claim_url", "uploading", "uploaded"), ""
)
"""The facts that clear the session of a job."""
NO_RENDER: Final = {"render_id": "", "render_submitted": ""}
"""The facts that clear the render of a job."""


def hold(
    step: StepContext,
    reason: Reason,
    message: str,
    *,
    remedy: str = "",
    resume: State | None = None,
    facts: Mapping[str, str] | None = None,
) -> Commit:
    """Hold the job until a person or an event releases it.

    Args:
        step: The step that ends.
        reason: Why the job is held.
        message: What happened, for people.
        remedy: What people can do; if empty, the usual remedy for the reason.
        resume: The state in which the job continues once it is released; None: its current one.
        facts: Facts to write.
    """
    return Commit(
        State.HELD,
        reason=reason,
        message=message,
        remedy=remedy
        or remedy_message(reason, step.job, step.runtime.settings, bind_id=_bind_id(step)),
        resume=resume or step.job.state,
        facts=facts,
    )


def hold_for_budget(step: StepContext, max_credits: float) -> Commit:
    """Hold the job because its batch has reached its budget."""
    message = f"The batch has reached its --max-credits ({max_credits:g})."
    return hold(step, Reason.BUDGET, message)


def hold_for_credits(step: StepContext, account: Account) -> Commit:
    """Hold a job that has not paid because the account has too few credits for a clip."""
    price = account.price(step.runtime.settings.api.clip_cost)
    # The headroom is below 0 while a charge is in the balance and its reservation has not ended.
    left = f"{account.name} had {max(0.0, account.headroom):g} credits left"
    return hold(step, Reason.CREDITS, f"{left}, and a clip costs about {price:g}.")


def hold_for_plan(step: StepContext, account: str) -> Commit:
    """Hold a job that has not paid because the account's plan does not allow exports."""
    return hold(step, Reason.PLAN, f"The plan of {account} does not allow exports.")


def fail(step: StepContext, reason: Reason, message: str, remedy: str = "") -> Commit:
    """End the job as failed."""
    return Commit(
        State.FAILED,
        reason=reason,
        message=message,
        remedy=remedy or remedy_message(reason, step.job, step.runtime.settings),
    )


def repeat_later(step: StepContext, delay: float, **facts: str) -> Commit:
    """Repeat the current stage after a delay in seconds."""
    return Commit(step.job.state, delay=delay, facts=facts)


def repeat_with_backoff(step: StepContext, kind: str, message: str, **facts: str) -> Commit:
    """Repeat the current stage after a wait that grows with each failure of this kind in a row."""
    wait = min(MAX_REPEAT_WAIT_SECONDS, backoff_seconds(failures(step, kind)))
    return repeat_later(step, with_jitter(wait), **facts, **failure_facts(step, kind, message))


def repeat_for(step: StepContext, kind: str, message: str, seconds: float) -> Commit | None:
    """Repeat the current stage later; None once it has failed in this way for some seconds.

    The limit is a time and not a number of tries, because the failure determines how long a try
    takes.
    """
    since = trouble_since(step, kind)
    if step.clock.now_ms() - since >= seconds * 1000:
        return None
    return repeat_with_backoff(step, kind, message, trouble_since=str(since))


def continue_in(
    state: State,
    facts: Mapping[str, str] = MappingProxyType({}),
    *,
    delay: float = 0.0,
    outcome: str = "",
) -> Commit:
    """Continue in a state, the current one or the next, after a step that did not fail.

    Args:
        state: The state.
        facts: Facts to write.
        delay: Seconds until the next step.
        outcome: What the turn's message did, if the step has found that out.
    """
    return Commit(state, delay=delay, outcome=outcome, facts={**facts, "tries": "0"})


def render_again(step: StepContext, message: str) -> Commit:
    """Render once more with a new id, or fail if that was the last try."""
    renders = step.job.number("render_tries") + 1
    if renders >= MAX_RENDERS:
        return fail(step, Reason.RENDER_FAILED, message)
    return continue_in(State.RENDERING, {**NO_RENDER, "render_tries": str(renders)})


def failures(step: StepContext, kind: str) -> int:
    """Return how many times in a row the current stage has failed in the same way."""
    return step.job.number("tries") if step.job.fact("tries_of") == kind else 0


def failure_facts(step: StepContext, kind: str, message: str) -> dict[str, str]:
    """Return the facts that record one more failure of this kind."""
    return {"tries": str(failures(step, kind) + 1), "tries_of": kind, "trouble": message}


def trouble_since(step: StepContext, kind: str) -> int:
    """Return when the current stage began to fail in this way, in ms since the epoch.

    Returns:
        The current time if the stage has not failed in this way before.
    """
    return step.job.number("trouble_since") if failures(step, kind) else step.clock.now_ms()


def with_jitter(seconds: float) -> float:
    """Vary a wait by up to half, so that jobs do not all continue at the same time."""
    return seconds * random.uniform(0.5, 1.5)  # noqa: S311 - not used for security


def _bind_id(step: StepContext) -> str:
    """Return the id by which a registration takes over the anonymous account.

    It comes from this job's session, else from the last session of the account.
    """
    own = step.job.fact("bind_id") or step.job.fact("task_id")
    return own or step.runtime.ledger.account(ANONYMOUS).bind_id
