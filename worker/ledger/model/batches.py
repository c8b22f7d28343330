"""Batch records with their counters, and how long recent clips took."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from worker.ledger.model.fields import float_or_none, int_of, int_or_zero, timestamp_of
from worker.ledger.model.jobs import UnreadableRecordError
from worker.ledger.model.states import RUNNING, Reason, State


@dataclass(frozen=True, slots=True)
class Pace:
    """How long recent clips took, as rolling means, and how many jobs run at a time.

    Attributes:
        clips: Number of clips made so far; the means are 0 while there are none.
        admitted_seconds: Seconds from admission to the end of the message, which is how long a job
            counts among the admitted ones.
        clip_seconds: Seconds from admission to the delivered clip.
        max_admitted: The most jobs that the ticker admits at a time; 0 while none is running.
    """

    clips: int
    admitted_seconds: float
    clip_seconds: float
    max_admitted: int


TICKING_MS: Final = 30_000
"""How long after its last tick a ticker counts as running."""


def read_pace(
    fields: Mapping[str, str], admit: str | None, last_tick: str | None, now: int
) -> Pace:
    """Read the rolling means and the ticker's limit. Times in ms."""
    is_ticking = now - int(last_tick or 0) < TICKING_MS
    return Pace(
        clips=int_of(fields, "clips"),
        admitted_seconds=float(fields.get("place_ms", 0)) / 1000,
        clip_seconds=float(fields.get("clip_ms", 0)) / 1000,
        max_admitted=int(admit or 0) if is_ticking else 0,
    )


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch with the number of its jobs in each state."""

    id: str
    name: str
    sealed: bool
    paused: bool
    created_at: int
    counts: Mapping[State, int]
    held_by: Mapping[Reason, int]
    committed: float
    max_credits: float | None = None
    pilot: int | None = None
    """How many more jobs start before it is paused; None without a pilot."""
    source: str = ""
    """The location of its manifest; empty if that is not known."""
    webhook_error: str | None = None
    """Why its webhook message was given up, if it was."""
    shared: bool = False
    """Whether its jobs share one session, one after another."""
    blocked_by: str | None = None
    """The job of unknown outcome because of which the batch is paused."""
    not_before: int | None = None
    """The server's time, in ms, before which none of its jobs starts."""
    revised: int = 0
    """How often a row's columns or its job were replaced."""

    def may_spend(self, price: float) -> bool:
        """Whether its budget allows one more message at a price in credits."""
        return self.max_credits is None or self.committed + price <= self.max_credits

    @property
    def total(self) -> int:
        """The number of jobs in the batch."""
        return sum(self.counts.values())

    @property
    def running(self) -> int:
        """The number of running jobs."""
        return sum(self.counts.get(state, 0) for state in RUNNING)

    @property
    def open(self) -> int:
        """The number of queued and running jobs."""
        return self.counts.get(State.QUEUED, 0) + self.running


def read_counts(fields: Mapping[str, str]) -> tuple[dict[State, int], dict[Reason, int]]:
    """Read the counters by state, and those of held jobs by reason, without zeros.

    A counter that is not a number is left out; the scripts set it aside.
    """
    states = {state: int_or_zero(fields.get(f"n:{state}")) for state in State}
    reasons = {reason: int_or_zero(fields.get(f"h:{reason}")) for reason in Reason}
    return (
        {state: n for state, n in states.items() if n},
        {reason: n for reason, n in reasons.items() if n},
    )


def read_batch(batch_id: str, fields: Mapping[str, str]) -> Batch:
    """Read a batch record.

    Raises:
        UnreadableRecordError: Its budget, its spending or its time is malformed.
    """
    try:
        return _batch(batch_id, fields)
    except ValueError as error:
        raise UnreadableRecordError(f"batch {batch_id}: {error}") from error


def placeholder_batch(batch_id: str, why: str) -> Batch:
    """Return a placeholder for a batch whose record cannot be read."""
    return replace(_batch(batch_id, {}), name=f"This batch cannot be read: {why}", sealed=True)


def _batch(batch_id: str, fields: Mapping[str, str]) -> Batch:
    counts, held_by = read_counts(fields)
    return Batch(
        id=batch_id,
        name=fields.get("name", ""),
        sealed=fields.get("sealed") == "1",
        paused=fields.get("paused") == "1",
        created_at=timestamp_of(fields, "created_at"),
        # The counters of a record that was deleted and written again can be negative.
        counts={state: n for state, n in counts.items() if n > 0},
        held_by={reason: n for reason, n in held_by.items() if n > 0},
        shared=fields.get("session") == "shared",
        blocked_by=fields.get("blocked_by") or None,
        committed=max(0.0, float_or_none(fields.get("committed")) or 0.0),
        max_credits=float_or_none(fields.get("max_credits")),
        pilot=max(0, int_or_zero(fields["pilot"])) if fields.get("pilot") else None,
        source=fields.get("source", ""),
        webhook_error=fields.get("webhook_error") or None,
        not_before=timestamp_of(fields, "not_before") or None,
        revised=int_or_zero(fields.get("revised")),
    )
