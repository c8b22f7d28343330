"""Batches with their counters, and the pace at which clips come."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from worker.ledger.model.fields import float_or_none, int_of, int_or_zero, timestamp_of
from worker.ledger.model.jobs import UnreadableRecordError
from worker.ledger.model.states import RUNNING, Reason, State


@dataclass(frozen=True, slots=True)
class Pace:
    """What clips took lately, as rolling means in seconds, and how many jobs run at once.

    Attributes:
        clips: Clips that were ever made; with none, the seconds are 0.
        admitted_seconds: From admission to the settled draft: so long is one of the places taken.
        clip_seconds: From admission to the delivered clip.
        max_admitted: The jobs that the ticker admits at once; 0 while no worker ticks.
    """

    clips: int
    admitted_seconds: float
    clip_seconds: float
    max_admitted: int


TICKING_MS: Final = 30_000
"""A ticker that was silent for longer is not there."""


def read_pace(
    fields: Mapping[str, str], admit: str | None, last_tick: str | None, now: int
) -> Pace:
    """Read the rolling figures, and the ticker's own from its last round. Times in ms."""
    ticks = now - int(last_tick or 0) < TICKING_MS
    return Pace(
        clips=int_of(fields, "clips"),
        admitted_seconds=float(fields.get("place_ms", 0)) / 1000,
        clip_seconds=float(fields.get("clip_ms", 0)) / 1000,
        max_admitted=int(admit or 0) if ticks else 0,
    )


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch and its counters, which always add up to its total."""

    id: str
    name: str
    sealed: bool
    paused: bool
    created_at: int
    counts: Mapping[State, int]
    held_by: Mapping[Reason, int]
    committed: float
    max_credits: float | None = None
    source: str = ""
    """Where its manifest lies; empty where that is not known."""
    webhook_error: str | None = None
    """Why a message of its end was given up."""
    shared: bool = False
    """Whether its jobs go through one session, one after another."""
    blocked_by: str | None = None
    """The job over whose unknown outcome a shared session, and so the batch, stands still."""

    def may_spend(self, price: float) -> bool:
        """Whether its limit allows one more message at this price, in credits."""
        return self.max_credits is None or self.committed + price <= self.max_credits

    @property
    def total(self) -> int:
        """All jobs of the batch."""
        return sum(self.counts.values())

    @property
    def running(self) -> int:
        """Jobs on the agenda."""
        return sum(self.counts.get(state, 0) for state in RUNNING)

    @property
    def open(self) -> int:
        """Queued and running jobs."""
        return self.counts.get(State.QUEUED, 0) + self.running


def read_counts(fields: Mapping[str, str]) -> tuple[dict[State, int], dict[Reason, int]]:
    """The counters by state, and those of the held by reason; zeroes left out.

    So is a counter that is no number: the scripts set it aside when they come to it.
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
        UnreadableRecordError: Its money or its time makes no sense.
    """
    try:
        return _batch(batch_id, fields)
    except ValueError as error:
        raise UnreadableRecordError(f"batch {batch_id}: {error}") from error


def placeholder_batch(batch_id: str, why: str) -> Batch:
    """A batch whose record cannot be read, in lists: its id and the reason."""
    return replace(_batch(batch_id, {}), name=f"It cannot be read: {why}", sealed=True)


def _batch(batch_id: str, fields: Mapping[str, str]) -> Batch:
    counts, held_by = read_counts(fields)
    return Batch(
        id=batch_id,
        name=fields.get("name", ""),
        sealed=fields.get("sealed") == "1",
        paused=fields.get("paused") == "1",
        created_at=timestamp_of(fields, "created_at"),
        # A record that was made anew counts below zero: what is known of it is nothing.
        counts={state: n for state, n in counts.items() if n > 0},
        held_by={reason: n for reason, n in held_by.items() if n > 0},
        shared=fields.get("session") == "shared",
        blocked_by=fields.get("blocked_by") or None,
        committed=max(0.0, float_or_none(fields.get("committed")) or 0.0),
        max_credits=float_or_none(fields.get("max_credits")),
        source=fields.get("source", ""),
        webhook_error=fields.get("webhook_error") or None,
    )
