"""The context of a step: the job, its lease, and the parts of the worker that a stage uses."""

from dataclasses import dataclass, field, replace

from worker.journal.boot_clock import boot_seconds
from worker.ledger.model.accounts import Account
from worker.ledger.model.jobs import Job
from worker.runtime.leases import Lease
from worker.runtime.runtime import Runtime


class LeaseLostError(Exception):
    """The step no longer owns its job: the lease was lost, and nothing more may be committed."""


class StepClock:
    """The time of the ledger's clock during a step, without a request to Redis.

    Args:
        now: The time of the claim by the ledger's clock, in ms. The time since then is measured by
            the boot clock, which no correction of the system time changes.
    """

    def __init__(self, now: int) -> None:
        self._offset = now - boot_seconds() * 1000

    def now_ms(self) -> int:
        """Return the time in ms. It is behind by the time that the reply to the claim has taken."""
        return int(self._offset + boot_seconds() * 1000)


@dataclass(slots=True)
class StepContext:
    """What a stage works with.

    Attributes:
        runtime: The parts of this worker process.
        job: The record as claimed, with the facts that this step has written since.
        lease: The ownership of the job.
        clock: The time of the ledger.
        account: The account that the job uses, as read together with its credential.
        used_tokens: Fingerprints of the tokens that this step has used, the current one last.
        noted: Facts of the job that are not written yet.
    """

    runtime: Runtime
    job: Job
    lease: Lease
    clock: StepClock
    account: Account | None = None
    used_tokens: list[str] = field(default_factory=list)
    noted: dict[str, str] = field(default_factory=dict)

    @property
    def is_follow_up_edit(self) -> bool:
        """Whether the job edits the clip of another job, in that job's session."""
        return self.job.fact("follows") is not None

    @property
    def uses_shared_session(self) -> bool:
        """Whether the job uses the session that its batch shares."""
        return self.job.fact("shared") is not None

    def note_facts(self, **facts: str) -> None:
        """Keep facts for the next write of the step, which is its commit at the latest.

        If the worker dies before that, the facts are lost, and the next step finds them out again.
        """
        known = self.job.facts
        self.noted.update(
            (name, value) for name, value in facts.items() if known.get(name, "") != value
        )
        self.job = replace(self.job, facts={**known, **facts})

    def update_facts(self, **facts: str) -> None:
        """Write facts to the job's record immediately, with those that were noted.

        Raises:
            LeaseLostError: The step no longer owns the job.
        """
        ledger, point = self.runtime.ledger, f"update_facts.{next(iter(facts))}"
        pending = {**self.noted, **facts}
        if not ledger.update_facts(self.job.id, self.lease.fence, pending, point=point):
            raise LeaseLostError
        self.noted.clear()
        self.job = replace(self.job, facts={**self.job.facts, **facts})

    def use_record(self, job: Job) -> None:
        """Replace the job by a newer reading of its record, and keep the facts that were noted."""
        self.job = replace(job, facts={**job.facts, **self.noted})
