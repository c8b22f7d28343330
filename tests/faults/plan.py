"""What a campaign does to the service, and when."""

import random
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of everything. ``seconds`` is the time in which jobs come and faults strike."""

    seed: int
    seconds: float
    jobs: int
    kills: int
    restarts: int
    duplicated: int
    dropped: int
    frozen: float
    """Seconds that Valkey stands still."""
    excluded: tuple[str, ...] = ()
    """Words: faults with one of them in their names are not injected."""

    def schedule(self, rng: random.Random) -> Iterator[tuple[float, str]]:
        """The faults with their moments, in seconds from the start."""
        few = max(1, self.kills // 10)
        numbers = {
            "kill -9 of a worker": self.kills,
            "SIGTERM of a worker": few,
            "SIGSTOP of a worker, longer than its lease": few,
            "Valkey killed and restarted": self.restarts,
            "Valkey frozen": max(1, self.restarts // 10),
            "output store failing": few,
            **{
                f"{side}: connections {how}": few
                for side in ("Redis", "API")
                for how in ("cut", "reset", "slow", "sliced", "half-open")
            },
        }
        injected = {
            name: number
            for name, number in numbers.items()
            if not any(word in name for word in self.excluded)
        }
        for name, number in injected.items():
            for slot in range(number):
                # One in each stretch of the time, so that all of it is hit.
                yield (slot + rng.random()) * self.seconds / number, name
