"""Batches with their counters, and the pace at which clips come."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from worker.ledger.fields import float_or_none, int_of
from worker.ledger.states import RUNNING, Reason, State


@dataclass(frozen=True, slots=True)
class Pace:
    """What clips took lately, as rolling means in seconds, and how many jobs run at once.

    Attributes:
        clips: Clips that were ever made; with none, the seconds are 0.
        place_seconds: From admission to the settled draft: so long is one of the places taken.
        clip_seconds: From admission to the delivered clip.
        places: The jobs that the ticker admits at once; 0 while no worker ticks.
    """

    clips: int
    place_seconds: float
    clip_seconds: float
    places: int


TICKING_MS: Final = 30_000
"""A ticker that was silent for longer is not there."""


def read_pace(
    fields: Mapping[str, str], admit: str | None, last_tick: str | None, now: int
) -> Pace:
    """Read the rolling figures, and the ticker's own from its last round. Times in ms."""
    ticks = now - int(last_tick or 0) < TICKING_MS
    return Pace(
        clips=int_of(fields, "clips"),
        place_seconds=float(fields.get("place_ms", 0)) / 1000,
        clip_seconds=float(fields.get("clip_ms", 0)) / 1000,
        places=int(admit or 0) if ticks else 0,
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
    """The counters by state, and those of the held by reason; zeroes left out."""
    states = {
        State(name.removeprefix("n:")): int(value)
        for name, value in fields.items()
        if name.startswith("n:") and int(value)
    }
    reasons = {
        Reason(name.removeprefix("h:")): int(value)
        for name, value in fields.items()
        if name.startswith("h:") and int(value)
    }
    return states, reasons


def read_batch(batch_id: str, fields: Mapping[str, str]) -> Batch:
    """Read a batch record."""
    counts, held_by = read_counts(fields)
    return Batch(
        id=batch_id,
        name=fields.get("name", ""),
        sealed=fields.get("sealed") == "1",
        paused=fields.get("paused") == "1",
        created_at=int_of(fields, "created_at"),
        counts=counts,
        held_by=held_by,
        shared=fields.get("session") == "shared",
        blocked_by=fields.get("blocked_by") or None,
        committed=float(fields.get("committed") or 0),
        max_credits=float_or_none(fields.get("max_credits")),
        source=fields.get("source", ""),
        webhook_error=fields.get("webhook_error") or None,
    )
