"""Polls of renders in groups: many jobs are claimed, and their steps ended, by one script each.

The lease, the fence and the rules for crashes are those of a step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from worker.ledger.ledger import LEASE_MARGIN_MS, Ledger
from worker.ledger.model.jobs import VERSION
from worker.ledger.model.states import State
from worker.ledger.model.steps import Commit

_FIELDS_OF_A_POLL: Final = 5


@dataclass(frozen=True, slots=True)
class DuePoll:
    """A job that was claimed so that its render can be polled.

    Attributes:
        job_id: The job.
        fence: The fence of the claim.
        render_id: The render.
        account: The account that owns it.
        polls: How often it was polled.
    """

    job_id: str
    fence: str
    render_id: str
    account: str
    polls: int


@dataclass(frozen=True, slots=True)
class PollGroup:
    """Polls that were claimed together, and seconds until the next one is due; None if none is."""

    polls: Sequence[DuePoll]
    next_due: float | None


@dataclass(frozen=True, slots=True)
class PollEnd:
    """The end of a poll after which the render continues.

    Attributes:
        job_id: The job.
        fence: The owner's fence.
        delay: Seconds until the next poll.
        polls: How often the render was polled; None if this poll was not made.
    """

    job_id: str
    fence: str
    delay: float
    polls: int | None


class Polls:
    """Claims and ends polls in groups."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def claim(self, owner: str, nonce: str, most: int) -> PollGroup:
        """Become the owner, for one lease each, of jobs whose render is due for a poll.

        Args:
            owner: The worker.
            nonce: The same for a repetition of this claim, and for no other claim.
            most: The most jobs to claim.
        """
        ledger = self._ledger
        reply = ledger.scripts.run(
            *("claim_polls", owner, nonce, most, ledger.lease_ms, LEASE_MARGIN_MS, VERSION)
        )
        wait_ms, *flat = reply
        fields = [flat[at::_FIELDS_OF_A_POLL] for at in range(_FIELDS_OF_A_POLL)]
        polls = [DuePoll(*values) for values in zip(*fields, strict=True)]
        return PollGroup(polls, wait_ms / 1000 if wait_ms >= 0 else None)

    def commit(self, ends: Sequence[PollEnd]) -> list[bool]:
        """End polls after which the render continues. False for each whose lease is lost."""
        arguments: list[object] = []
        for end in ends:
            polls = "" if end.polls is None else end.polls
            arguments += (end.job_id, end.fence, int(end.delay * 1000), polls)
        verdicts = self._ledger.scripts.run("commit_polls", *arguments)
        return [
            self._commit_alone(end) if verdict == "OTHER" else bool(verdict == "OK")
            for end, verdict in zip(ends, verdicts, strict=True)
        ]

    def _commit_alone(self, end: PollEnd) -> bool:
        """End a poll by a commit of its own, for example after a request to cancel the job."""
        facts = {} if end.polls is None else {"polls": str(end.polls), "tries": "0"}
        commit = Commit(State.RENDERING, delay=end.delay, facts=facts)
        return self._ledger.commit(end.job_id, end.fence, commit)
