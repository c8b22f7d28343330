"""Held jobs grouped by reason, each group with the command that helps all of its jobs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from worker.ledger.model.states import Reason

_ADVICE: Final = {
    Reason.CREDITS: "Top up the account; the jobs then continue by themselves. The balances:",
    Reason.BUDGET: "Raise what the batch may spend in total; the jobs that it covers continue:",
    Reason.TOKEN: "Set a valid NEMO_TOKEN and restart the workers, then:",
    Reason.PLAN: "Upgrade the plan, or set a token whose plan allows exports, then:",
    Reason.OUTCOME_UNKNOWN: "Look at the projects. To take their drafts as they are "
    "(--pay-again instead pays for new clips):",
    Reason.SESSION_LOST: "The projects are gone. To pay for new clips:",
    Reason.QUESTION: "The agent asked a question. To pay for another attempt:",
    Reason.RENDER_SLOW: "To check the renders again, free of charge:",
    Reason.POISON: "Read the logs of the workers, then:",
    Reason.BLOCKED: "Decide about the job that these wait for. Its status says how:",
    Reason.STORE: "Correct what `reelqueue doctor` reports about the store, then:",
    Reason.CLIP_INCOMPLETE: "To render and download again, free of charge:",
}
_DECISIONS: Final = {
    Reason.OUTCOME_UNKNOWN: " --as-done",
    Reason.SESSION_LOST: " --pay-again",
    Reason.QUESTION: " --pay-again",
}
"""The decision that a release must name, for each reason in ``UNDECIDED``."""


@dataclass(frozen=True, slots=True)
class HeldGroup:
    """The jobs that are held for one reason, what to do, and the command for it."""

    reason: Reason
    jobs: int
    advice: str
    command: str


def held_groups(
    held_by: Mapping[Reason, int], batch_id: str = "", blocked_by: str = ""
) -> Iterator[HeldGroup]:
    """Yield the groups of held jobs, the largest first.

    Args:
        held_by: How many jobs are held for each reason.
        batch_id: Their batch; empty for all jobs.
        blocked_by: The job that the batch waits for; empty if there is none.
    """
    for reason, jobs in sorted(held_by.items(), key=lambda group: (-group[1], group[0])):
        if jobs:
            command = _command(reason, batch_id, blocked_by)
            yield HeldGroup(reason, jobs, _ADVICE.get(reason, "To continue:"), command)


def _command(reason: Reason, batch_id: str, blocked_by: str) -> str:
    match reason:
        case Reason.CREDITS:
            return "reelqueue credits"
        case Reason.BUDGET:
            return f"reelqueue release {batch_id or 'BATCH'} --max-credits CREDITS"
        case Reason.BLOCKED if blocked_by:
            return f"reelqueue status {blocked_by}"
        case Reason.BLOCKED:
            batch = f" --batch {batch_id}" if batch_id else ""
            return f"reelqueue list{batch} --reason outcome_unknown"
    ids = f" {batch_id}" if batch_id else ""
    return f"reelqueue release{ids} --reason {reason}{_DECISIONS.get(reason, '')}"
