"""One step of a job as the ledger sees it: the claim, the session, and the commit."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from worker.ledger.model.states import Reason, State
from worker.ledger.model.verdicts import ClaimVerdict, CommitVerdict, SessionVerdict


@dataclass(frozen=True, slots=True)
class Claim:
    """The reply to a claim; the record is empty unless the verdict is OK.

    Attributes:
        verdict: The verdict.
        record: The record of the job.
        now: The time of the claim, in ms of the ledger's clock; 0 unless the verdict is OK.
    """

    verdict: ClaimVerdict
    record: Mapping[str, str]
    now: int = 0

    @property
    def fence(self) -> str:
        """The fence of the claim."""
        return fence_of(self.record)


@dataclass(frozen=True, slots=True)
class CommitReply:
    """The reply to a commit, with the claim of the next stage if there is one."""

    verdict: CommitVerdict
    claim: Claim | None = None

    @property
    def is_committed(self) -> bool:
        """Whether the end of the step was written."""
        return self.verdict is not CommitVerdict.LOST


@dataclass(frozen=True, slots=True)
class SessionAcquisition:
    """The reply to a job that acquires its session: its record, or the job that it waits for."""

    verdict: SessionVerdict
    waits_for: str = ""
    record: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Commit:
    """The end of a step: the job's next state, and the facts that the step found out.

    Attributes:
        state: The next state.
        delay: Seconds until the next step is due.
        reason: Why the job is held or failed.
        message: What happened, for users.
        remedy: What the user can do.
        resume: The state in which a held job continues.
        outcome: What became of the current turn's message; empty leaves it as it is.
        facts: Further fields of the record.
    """

    state: State
    delay: float = 0.0
    reason: Reason | None = None
    message: str = ""
    remedy: str = ""
    resume: State | None = None
    outcome: str = ""
    facts: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class NextClaim:
    """The claim by which the owner of a job continues with its next stage.

    Attributes:
        nonce: The nonce of the claim; "" for none.
        lease_ms: The duration of its lease.
        margin_ms: From the end of the lease until another worker may claim the job.
    """

    nonce: str = ""
    lease_ms: int = 0
    margin_ms: int = 0


def fence_of(record: Mapping[str, str]) -> str:
    """Return the fence of the claim in a record, which proves its ownership: number and nonce."""
    return f"{record['fence']}:{record['nonce']}"


def commit_arguments(
    job_id: str, fence: str, end: Commit, *, nonce: str, following: NextClaim
) -> list[object]:
    """Return the arguments of the script; a second run with the same nonces changes nothing."""
    facts = {**(end.facts or {}), "message": end.message, "remedy": end.remedy}
    return [
        job_id,
        fence,
        nonce,
        end.state,
        int(end.delay * 1000),
        end.reason or "",
        end.resume or "",
        end.outcome,
        *(following.nonce, following.lease_ms, following.margin_ms),
        *field_pairs(facts),
    ]


def field_pairs(facts: Mapping[str, str]) -> list[str]:
    """Return names and values in turn, as the arguments of a script."""
    return [part for pair in facts.items() for part in pair]
