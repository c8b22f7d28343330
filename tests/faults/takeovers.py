"""How long jobs had no owner after a lease expired, and whether Redis was reachable then."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tests.faults.evidence import Fields


@dataclass(frozen=True, slots=True)
class Outage:
    """A time, in Unix seconds, when Redis was not reachable by some or all workers."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Takeover:
    """A claim of a job whose lease had expired.

    Attributes:
        at: When it was claimed, in Unix seconds.
        since_lease: Seconds since the lease expired.
        since_grace: The same, without the grace period that all leases get after an outage.
    """

    at: float
    since_lease: float
    since_grace: float

    def overlaps(self, outage: Outage) -> bool:
        """Return whether an outage overlaps the time from the lease's end to the claim."""
        return outage.start <= self.at and outage.end >= self.at - self.since_lease


def takeovers(jobs: Iterable[Fields]) -> Iterator[Takeover]:
    """Yield the takeovers that job records contain."""
    for job in jobs:
        for name, value in job.items():
            if name.startswith("late:"):
                since_lease, since_grace, at = (int(number) / 1000 for number in value.split())
                yield Takeover(at, since_lease, since_grace)


def outside_outages(found: Iterable[Takeover], outages: Sequence[Outage]) -> list[Takeover]:
    """Return the takeovers that no outage overlaps."""
    return [takeover for takeover in found if not any(map(takeover.overlaps, outages))]


def median_and_p99(seconds: Iterable[float]) -> str:
    """Return both as text, or "none" for fewer than two values."""
    found = sorted(seconds)
    if len(found) < 2:
        return "none"
    p99 = found[min(len(found) - 1, int(len(found) * 0.99))]
    return f"{statistics.median(found):.2f} s, {p99:.2f} s"
