"""How long jobs lay with nobody, and whether Redis could have been asked meanwhile."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tests.faults.evidence import Fields


@dataclass(frozen=True, slots=True)
class Outage:
    """A stretch in which Redis could not be asked, or not by all. Seconds since the epoch."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Takeover:
    """A claim of a job whose owner had let its lease run out.

    Attributes:
        at: When, in seconds since the epoch.
        since_lease: Seconds since the end of the lease.
        since_grace: The same, less the grace that all leases are given after an outage.
    """

    at: float
    since_lease: float
    since_grace: float

    def overlaps(self, outage: Outage) -> bool:
        """Whether an outage lies between the lease's end and the claim, or touches it."""
        return outage.start <= self.at and outage.end >= self.at - self.since_lease


def takeovers(jobs: Iterable[Fields]) -> Iterator[Takeover]:
    """Read off the records."""
    for job in jobs:
        for name, value in job.items():
            if name.startswith("late:"):
                since_lease, since_grace, at = (int(number) / 1000 for number in value.split())
                yield Takeover(at, since_lease, since_grace)


def outside_outages(found: Iterable[Takeover], outages: Sequence[Outage]) -> list[Takeover]:
    """Those that met no outage."""
    return [takeover for takeover in found if not any(map(takeover.overlaps, outages))]


def median_and_p99(seconds: Iterable[float]) -> str:
    """Both, as text; nothing where there are fewer than two."""
    found = sorted(seconds)
    if len(found) < 2:
        return "none"
    p99 = found[min(len(found) - 1, int(len(found) * 0.99))]
    return f"{statistics.median(found):.2f} s, {p99:.2f} s"
