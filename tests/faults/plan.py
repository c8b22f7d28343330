"""The plan of a campaign: which faults are injected, how often, and when."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """The names of faults of workers and servers; those of connections are `CONNECTION_FAULTS`."""

    WORKER_KILLED = "worker killed (SIGKILL)"
    WORKER_TERMINATED = "worker terminated (SIGTERM)"
    WORKER_FROZEN = "worker frozen (SIGSTOP) for longer than its lease"
    VALKEY_RESTARTED = "Valkey killed and restarted"
    VALKEY_FROZEN = "Valkey frozen"
    OUTPUT_FAILING = "output store failing"

    @property
    def needs_worker(self) -> bool:
        """Whether it takes a worker away."""
        return self in {Fault.WORKER_KILLED, Fault.WORKER_TERMINATED, Fault.WORKER_FROZEN}


CONNECTION_FAULTS = tuple(
    f"{server}: connections {how}"
    for server in ("Redis", "API")
    for how in ("cut", "reset", "slow", "sliced", "half-open")
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How many jobs are submitted and how many faults are injected.

    Attributes:
        seed: Decides about all random choices.
        seconds: The time in which jobs are submitted and faults are injected.
        jobs: Jobs to submit.
        kills: Workers to kill; a tenth as many are terminated and frozen.
        restarts: Restarts of Valkey; a tenth as often it is frozen.
        duplicated: Wake-up messages to duplicate.
        dropped: Wake-up messages to drop.
        freeze_seconds: How long Valkey is frozen.
        excluded: Faults with one of these words in their names are not injected.
    """

    seed: int
    seconds: float
    jobs: int
    kills: int
    restarts: int
    duplicated: int
    dropped: int
    freeze_seconds: float
    excluded: tuple[str, ...] = ()

    def schedule(self, rng: random.Random) -> Iterator[tuple[float, str]]:
        """Yield the faults with their moments, in seconds from the start."""
        few = max(1, self.kills // 10)
        numbers = {
            Fault.WORKER_KILLED: self.kills,
            Fault.WORKER_TERMINATED: few,
            Fault.WORKER_FROZEN: few,
            Fault.VALKEY_RESTARTED: self.restarts,
            Fault.VALKEY_FROZEN: max(1, self.restarts // 10),
            Fault.OUTPUT_FAILING: few,
            **dict.fromkeys(CONNECTION_FAULTS, few),
        }
        for name, number in numbers.items():
            if any(word in name for word in self.excluded):
                continue
            for slot in range(number):
                # One in each part of the time, so that faults are spread over all of it.
                yield (slot + rng.random()) * self.seconds / number, name
