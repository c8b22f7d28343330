"""Decisions about errors of the video API: the policy makes them, this module carries them out."""

from tasks.step.commits import (
    NO_SESSION,
    continue_in,
    fail,
    failure_facts,
    failures,
    hold,
    render_again,
    repeat_later,
    with_jitter,
)
from tasks.step.context import StepContext
from tasks.step.credentials import account_name, discard_used_tokens
from worker.ledger.model.states import State
from worker.ledger.model.steps import Commit
from worker.nemo.errors import Call, NemoError, OutOfCredits, PlanRefused, TokenRefused
from worker.policy import Action, Decision, decide


def decide_error(step: StepContext, error: NemoError) -> Decision:
    """Return what the policy decides about an error."""
    accounts, job = step.runtime.accounts, step.job
    return decide(
        error,
        is_bound=job.is_bound,
        earlier_errors=failures(step, _failure_kind(error)),
        anonymous=accounts.uses_anonymous_token,
        others_can_take=not job.is_bound and accounts.others_can_take(account_name(step)),
        rate_limit_wait=step.runtime.settings.timing.rate_limit_seconds,
    )


def apply_decision(
    step: StepContext, decision: Decision, error: NemoError, failed_at: int
) -> Commit:
    """Carry out a decision of the policy and return the commit that ends the step.

    Args:
        step: The step.
        decision: The decision.
        error: The error that was decided about.
        failed_at: When it was raised, in ms of the ledger's clock.
    """
    failure = failure_facts(step, _failure_kind(error), error.message)
    match decision.action:
        case Action.HOLD:
            assert decision.reason is not None  # noqa: S101 - the policy gives one with each hold
            _record_refusal(step, error, failed_at)
            return hold(step, decision.reason, error.message)
        case Action.FAIL:
            assert decision.reason is not None  # noqa: S101 - as above
            return fail(step, decision.reason, error.message)
        case Action.SETTLE:
            wait = step.runtime.settings.timing.settle_first_seconds
            return continue_in(State.SETTLING, delay=wait)
        case Action.NEW_SESSION:
            return _prepare_again(step, failure, decision.delay)
        case Action.NEW_ACCOUNT:
            _record_refusal(step, error, failed_at)
            return _prepare_again(step, failure)
        case Action.NEW_TOKEN:
            discard_used_tokens(step)
            return _prepare_again(step, failure)
        case Action.RENDER_AGAIN:
            return render_again(step, error.message)
        case Action.COOL_DOWN:
            step.runtime.payments.record_rate_limited(account_name(step), decision.delay)
            step.runtime.accounts.forget_recent(account_name(step))
            return repeat_later(step, with_jitter(decision.delay), **failure)
        case Action.REPEAT:
            return repeat_later(step, with_jitter(decision.delay), **failure)


def _prepare_again(step: StepContext, failure: dict[str, str], delay: float = 0.0) -> Commit:
    """Prepare the job again in a new session."""
    if step.job.is_bound:
        # The session has what was paid for: the job stays in it, and repeats the stage.
        return repeat_later(step, delay, **failure)
    return Commit(State.PREPARING, delay=delay, facts={**NO_SESSION, **failure})


def _record_refusal(step: StepContext, error: NemoError, failed_at: int) -> None:
    """Record for all workers what an error says about the account."""
    if isinstance(error, OutOfCredits):
        step.runtime.payments.record_credits_refused(account_name(step), failed_at)
    if isinstance(error, PlanRefused) and error.call is Call.EXPORT:
        step.runtime.payments.record_plan_refused(account_name(step))
    if isinstance(error, TokenRefused):
        step.runtime.payments.record_token_refused(account_name(step), by="job")


def _failure_kind(error: NemoError) -> str:
    """Return the name under which failures in a row are counted."""
    return type(error).__name__
