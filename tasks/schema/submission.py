"""The public result of a submission."""

from dataclasses import dataclass
from typing import Any

from worker.ledger.model.states import State


@dataclass(frozen=True, slots=True)
class Submission:
    """The result of a submission.

    Attributes:
        job_id: The job's id.
        state: The job's current state, or its last one if it was pruned.
        duplicate: Whether the job existed already. If so, nothing was enqueued.
        pruned: Whether the job's record was deleted. Its key still prevents a second payment.
    """

    job_id: str
    state: State
    duplicate: bool
    pruned: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the public JSON form; ``pruned`` appears only if it is true."""
        fields = {"job_id": self.job_id, "state": self.state.value, "duplicate": self.duplicate}
        return {**fields, "pruned": True} if self.pruned else fields
