"""One step of one job: claim it, work, commit what came of it.

The record decides what runs; the hint only says where to look. Whatever a step raises becomes a
decision here, in one place: by the policy for the API, and by kind for the rest.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NoReturn
from uuid import uuid4

import sentry_sdk
import structlog
from pydantic import SecretStr

from tasks.step.remedy_messages import remedy_message
from worker.accounts.credentials import (
    ANONYMOUS,
    AccountCoolingDownError,
    Credential,
    TokenPendingError,
)
from worker.accounts.credit_shortfall import credit_shortfall
from worker.file_refusal import FileRefusedError
from worker.ledger.ledger import Commit
from worker.ledger.model.jobs import Job, UnreadableRecordError, read_job
from worker.ledger.model.states import Reason, State
from worker.ledger.model.verdicts import ClaimVerdict
from worker.nemo.errors import (
    Call,
    NemoError,
    OutOfCredits,
    RateLimited,
    TokenRefused,
)
from worker.policy import Action, Decision, PaymentState, backoff_seconds, decide, error_kind
from worker.resources.memory_budget import MemoryUnavailableError
from worker.runtime.leases import Lease
from worker.runtime.runtime import Runtime, get_runtime
from worker.storage.errors import NotStoredError, StoreError
from worker.telemetry.metrics import LOST, STEPS

log = structlog.get_logger(__name__)

SHORT_STEP_SECONDS: Final = 600.0
"""The longest a step other than the stream may take: a slow download of a large clip."""
FAULTS_TOLERATED: Final = 5
DELIVERY_TRIES: Final = 10
RENDER_TRIES: Final = 2
PENDING_SECONDS: Final = 1.0

FORGET_SESSION: Final = dict.fromkeys(
    ("session_id", "task_id", "bind_id", "claim_url", "uploading", "uploaded"), ""
)


class LeaseLostError(Exception):
    """The job belongs to somebody else now; whatever this step holds is void."""


class JobFailedError(RuntimeError):
    """A job ended as failed. Raised after its commit, so that Flower shows the stage in red."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a stage works with."""

    runtime: Runtime
    job: Job
    lease: Lease
    used_tokens: list[str] = field(default_factory=list)
    """Fingerprints of the tokens that this step has used, the last one being the present."""

    def update_facts(self, **facts: str) -> None:
        """Write facts at once.

        Raises:
            LeaseLostError: The job is no longer ours.
        """
        if not self.runtime.ledger.update_facts(self.job.id, self.lease.fence, facts):
            raise LeaseLostError

    def credential(self) -> Credential:
        """The credential that the job works with now.

        A job stays with the account that holds its session once money lies in it; before that it
        goes to one that can take it.

        Raises:
            LeaseLostError: The job is no longer ours.
            AccountCoolingDownError: The account rests after a 429.
            TokenPendingError: Another worker is asking for the fleet's token.
            NemoError: No token could be had, or no account holds the session.
        """
        accounts, job = self.runtime.accounts, self.job
        if job.is_bound:
            credential = self._owning_account()
        else:
            name = accounts.choose(job.fact("account"))
            self.update_facts(account=name)
            credential = accounts.credential(name)
            self.update_facts(token_id=credential.token_id)
        self.used_tokens.append(credential.token_id)
        return credential

    def _owning_account(self) -> Credential:
        """The account that holds the session: under another name where its token was replaced."""
        accounts, job = self.runtime.accounts, self.job
        name = job.fact("keeper") or job.facts["account"]
        if name in accounts.names():
            return accounts.credential(name)
        found = accounts.session_owner(job.facts["session_id"])
        if found is not None:
            self.update_facts(keeper=found.name)
            return found
        if name == ANONYMOUS and accounts.has_token(ANONYMOUS):
            return accounts.credential(ANONYMOUS)
        raise TokenRefused(
            Call.TOKEN, f"{name} is no longer in NEMO_TOKEN, and no account in it has the session"
        )

    def token(self) -> SecretStr:
        """The token of the job's account."""
        return self.credential().token

    def hold(
        self,
        reason: Reason,
        message: str,
        *,
        resume: State | None = None,
        facts: Mapping[str, str] | None = None,
    ) -> Commit:
        """A commit that parks the job with its reason and its way out."""
        return Commit(
            State.HELD,
            reason=reason,
            message=message,
            remedy=remedy_message(reason, self.job, self.runtime.settings, bind_id=self._bind_id()),
            resume=resume or self.job.state,
            facts=facts,
        )

    def hold_for_credits(self, message: str) -> Commit:
        """A commit that parks the job until there is money, with what is missing for all."""
        runtime = self.runtime
        short = credit_shortfall(
            runtime.ledger, runtime.accounts.names(), runtime.settings.api.clip_cost, more=1
        )
        return self.hold(Reason.CREDITS, f"{message} {short}")

    def hold_for_budget(self, most: float) -> Commit:
        """A commit that parks the job because its batch may spend no more."""
        return self.hold(Reason.BUDGET, f"The batch has reached its --max-credits ({most:g}).")

    def _bind_id(self) -> str:
        """What binds the anonymous account: told by a session of this job, or of any other."""
        own = self.job.fact("bind_id") or self.job.fact("task_id")
        return own or self.runtime.ledger.account(ANONYMOUS).bind_id

    def fail(self, reason: Reason, message: str, remedy: str = "") -> Commit:
        """A commit that ends the job as failed."""
        return Commit(
            State.FAILED,
            reason=reason,
            message=message,
            remedy=remedy or remedy_message(reason, self.job, self.runtime.settings),
        )

    def retry_later(self, delay: float, **facts: str) -> Commit:
        """A commit that comes back to the same stage after so many seconds."""
        return Commit(self.job.state, delay=delay, facts=facts)

    def rested(self, error: AccountCoolingDownError) -> Commit:
        """A commit that comes back after an account's pause, and not as one of a herd."""
        stagger = random.uniform(0, self.runtime.settings.timing.rate_limit_seconds)  # noqa: S311
        return self.retry_later(error.wait + stagger)

    def decided(self, decision: Decision, error: NemoError) -> Commit:
        """A commit that carries out a decision of the policy."""
        trouble = self.failure_facts(error.message, kind=type(error).__name__)
        match decision.action:
            case Action.HOLD if decision.reason is Reason.CREDITS:
                self._note(error)
                return self.hold_for_credits(error.message)
            case Action.HOLD:
                self._note(error)
                assert decision.reason is not None  # noqa: S101 - the table gives one with a hold
                return self.hold(decision.reason, error.message)
            case Action.FAIL:
                assert decision.reason is not None  # noqa: S101 - as above
                return self.fail(decision.reason, error.message)
            case Action.SETTLE:
                wait = self.runtime.settings.timing.settle_first_seconds
                return Commit(State.SETTLING, delay=wait, facts={"tries": "0"})
            case Action.NEW_SESSION:
                # What was paid for lies in the session: no other can take its place.
                if self.job.is_bound:
                    return self.retry_later(decision.delay, **trouble)
                return Commit(
                    State.PREPARING,
                    delay=decision.delay,
                    facts={**FORGET_SESSION, **trouble},
                )
            case Action.NEW_ACCOUNT:
                self._note(error)
                return Commit(State.PREPARING, facts={**FORGET_SESSION, **trouble})
            case Action.NEW_TOKEN:
                self._renew()
                # What was paid for lies in the session: it is asked for again, never left.
                if self.job.is_bound:
                    return self.retry_later(0, **trouble)
                return Commit(State.PREPARING, facts={**FORGET_SESSION, **trouble})
            case Action.RENDER_AGAIN:
                return self.render_again(error.message)
            case Action.COOL_DOWN:
                self.runtime.payments.record_rate_limited(self.account, decision.delay)
                return self.retry_later(with_jitter(decision.delay), **trouble)
            case Action.REPEAT:
                return self.retry_later(with_jitter(decision.delay), **trouble)

    def render_again(self, why: str) -> Commit:
        """A commit that makes one more render with a new id, or gives up.

        Source: the contract, «Codes»: a failed render, once more with a new id, then fail.
        """
        tries = self.job.number("render_tries") + 1
        if tries >= RENDER_TRIES:
            return self.fail(Reason.RENDER_FAILED, why)
        fresh = {"render_id": "", "render_submitted": "", "render_tries": str(tries), "tries": "0"}
        return Commit(State.RENDERING, facts=fresh)

    def failures(self, kind: str) -> int:
        """How often the same kind of trouble was met in a row before."""
        return self.job.number("tries") if self.job.fact("tries_of") == kind else 0

    def failure_facts(self, message: str, *, kind: str) -> dict[str, str]:
        """The facts of trouble that is met once more."""
        return {"tries": str(self.failures(kind) + 1), "tries_of": kind, "trouble": message}

    def _renew(self) -> None:
        for token_id in self.used_tokens:
            self.runtime.accounts.discard_anonymous_token(token_id)

    @property
    def account(self) -> str:
        """The account that this step works with; its record may name it since this step began."""
        facts = self.runtime.ledger.facts(self.job.id, "keeper", "account")
        return next(filter(None, facts), ANONYMOUS)

    def _note(self, error: NemoError) -> None:
        """Tell all workers what an account's refusal means for it."""
        if isinstance(error, OutOfCredits):
            self.runtime.payments.record_credits_refused(self.account)
        if isinstance(error, TokenRefused):
            self.runtime.payments.record_token_refused(self.account, by="job")


Stage = Callable[[Step], Commit]


def with_jitter(wait: float) -> float:
    """A wait that differs from job to job, so that they do not come back as a herd."""
    return wait * random.uniform(0.5, 1.5)  # noqa: S311 - no secret hangs on it


def run(job_id: str, stages: Mapping[State, Stage]) -> str:
    """Do the next step of a job, if it is free, due and not at an end.

    Returns:
        What happened, in a word, for Flower.

    Raises:
        JobFailedError: The job ended as failed.
    """
    runtime = get_runtime()
    if runtime.status.draining or runtime.status.lagging:
        runtime.ledger.decline(job_id)
        return "left to another worker"
    claim = runtime.ledger.claim(job_id, runtime.owner, uuid4().hex)
    if claim.verdict is not ClaimVerdict.OK:
        return claim.verdict.lower()
    fence = int(claim.record["fence"])
    limit = SHORT_STEP_SECONDS
    with (
        structlog.contextvars.bound_contextvars(job_id=job_id),
        runtime.leases.hold(job_id, fence, limit) as lease,
    ):
        end: Commit | None
        try:
            job = read_job(claim.record)
        except UnreadableRecordError as error:
            end = _set_aside(claim.record, error)
        else:
            try:
                end = _work(Step(runtime, job, lease), stages[job.state])
            except LeaseLostError:
                end = None
        lease.is_ending = True
        if end is not None and not runtime.ledger.commit(job_id, fence, end):
            end = None
    STEPS.labels(claim.record["state"], end.state.value if end else LOST).inc()
    if end is None:
        return LOST
    log.info("step done", state=end.state.value, reason=end.reason, delay=end.delay)
    if end.state is State.FAILED:
        _raise_failed(end)
    return end.state.value


def _raise_failed(end: Commit) -> NoReturn:
    raise JobFailedError(f"{end.reason}: {end.message}")


def _set_aside(record: Mapping[str, str], error: UnreadableRecordError) -> Commit:
    log.error("a record cannot be read", error=str(error))
    return Commit(
        State.HELD,
        reason=Reason.POISON,
        message=f"This job's record cannot be read: {error}",
        remedy="Upgrade the workers to the version that wrote it, then release it.",
        resume=State(record["state"]),
    )


def _work(step: Step, stage: Stage) -> Commit:
    try:
        return stage(step)
    except LeaseLostError:
        raise
    except (TokenPendingError, MemoryUnavailableError):
        return step.retry_later(with_jitter(PENDING_SECONDS))
    except AccountCoolingDownError as error:
        return step.rested(error)
    except NemoError as error:
        return step.decided(judge_error(step, error, _payment_state(step.job)), error)
    except FileRefusedError as error:
        if error.repeatable and step.failures("source") < FAULTS_TOLERATED:
            return _repeat(step, "source", error.message)
        return step.fail(Reason(error.code), error.message, error.remedy)
    except NotStoredError as error:
        return step.fail(Reason.SOURCE_UNREACHABLE, error.message, error.remedy)
    except StoreError as error:
        log.warning("a store failed", error=error.message)
        if step.failures("store") < DELIVERY_TRIES:
            return _repeat(step, "store", error.message)
        return step.fail(Reason.DELIVERY_FAILED, error.message, error.remedy)
    except Exception as error:
        log.exception("a step met a fault of ours")
        sentry_sdk.capture_exception(error)
        if step.failures("fault") < FAULTS_TOLERATED:
            return _repeat(step, "fault", type(error).__name__)
        return step.hold(Reason.POISON, f"A fault of this service: {type(error).__name__}.")


def _repeat(step: Step, kind: str, message: str) -> Commit:
    return step.retry_later(
        with_jitter(backoff_seconds(step.failures(kind))), **step.failure_facts(message, kind=kind)
    )


def _payment_state(job: Job) -> PaymentState:
    """Once any message was paid, its session holds what the money bought."""
    return PaymentState.PAID if job.is_bound else PaymentState.UNPAID


def judge_error(step: Step, error: NemoError, payment: PaymentState) -> Decision:
    """Ask the policy about an error of the API."""
    settings = step.runtime.settings
    asked = error.retry_after if isinstance(error, RateLimited) else None
    return decide(
        error.call,
        error_kind(error),
        payment,
        attempt=step.failures(type(error).__name__),
        anonymous=step.runtime.accounts.uses_anonymous_token,
        others_can_take=not step.job.is_bound
        and step.runtime.accounts.others_can_take(step.account),
        rate_limit_wait=asked or settings.timing.rate_limit_seconds,
    )
