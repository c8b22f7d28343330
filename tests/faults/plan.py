"""The plan of a campaign: which faults are injected, how often, and when."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Fault(StrEnum):
    """The names of faults of workers and servers; those of connections are `CONNECTION_FAULTS`."""

    WORKER_KILLED = "worker killed (SIGKILL)"
    WORKER_TERMINATED = "worker terminated (SIGTERM)"
    WORKER_FROZEN = "worker frozen (SIGSTOP) for longer than its lease"
    INTAKE_KILLED = "worker killed while it takes a submission"
    VALKEY_RESTARTED = "Valkey killed and restarted"
    VALKEY_FROZEN = "Valkey frozen"
    VALKEY_CUT = "Valkey: power cut, unconfirmed writes lost"
    VALKEY_RESTORED = "Valkey: older copy of its data restored"
    VALKEY_FLUSHED = "Valkey: flushed"
    VALKEY_FAILED_OVER = "Valkey: failover, last writes lost"
    VALKEY_OOM = "Valkey: out of memory (OOM)"
    VALKEY_READONLY = "Valkey: read only (READONLY)"
    OUTPUT_FAILING = "output store failing"

    @property
    def needs_worker(self) -> bool:
        """Whether it takes a worker away."""
        return self in {Fault.WORKER_KILLED, Fault.WORKER_TERMINATED, Fault.WORKER_FROZEN}

    @property
    def needs_server(self) -> bool:
        """Whether it waits until Valkey is not under another fault that lasts."""
        return self in LOSSES or self in {
            *(Fault.VALKEY_RESTARTED, Fault.VALKEY_FROZEN),
            *(Fault.VALKEY_OOM, Fault.VALKEY_READONLY),
        }


LOSSES = (
    *(Fault.VALKEY_CUT, Fault.VALKEY_RESTORED),
    *(Fault.VALKEY_FLUSHED, Fault.VALKEY_FAILED_OVER),
)
"""Faults by which Valkey loses data."""
BUSY_SHARE: Final = 0.85
"""The share of the time in which jobs are submitted and wake-up messages duplicated and dropped."""
CONNECTION_FAULTS = tuple(
    f"{server}: connections {how}"
    for server in ("Redis", "API")
    for how in ("cut", "reset", "slow", "sliced", "half-open")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many jobs are submitted and how many faults are injected.

    Attributes:
        seed: Decides about all random choices.
        seconds: The time in which jobs are submitted and faults are injected.
        jobs: Jobs to submit.
        kills: Workers to kill; a tenth as many are terminated and frozen.
        intake_kills: Workers to kill while they take a submission by message.
        restarts: Restarts of Valkey without a loss; a quarter as often it is frozen.
        losses: Faults of each kind by which Valkey loses data.
        refusals: How often Valkey is out of memory, and how often it is read only.
        duplicated: Wake-up messages to duplicate.
        dropped: Wake-up messages to drop.
        doubled: Submissions by message to send twice.
        decided: Messages of unknown outcome that a person decides to pay again.
        freeze_seconds: How long Valkey is frozen.
        excluded: Faults with one of these words in their names are not injected.
    """

    seed: int
    seconds: float
    jobs: int
    kills: int
    intake_kills: int
    restarts: int
    losses: int
    refusals: int
    duplicated: int
    dropped: int
    doubled: int
    decided: int
    freeze_seconds: float
    excluded: tuple[str, ...] = ()

    def schedule(self, rng: random.Random) -> Iterator[tuple[float, str]]:
        """Yield the faults with their moments, in seconds from the start."""
        few = max(1, self.kills // 10)
        numbers: dict[str, int] = {
            Fault.WORKER_KILLED: self.kills,
            Fault.WORKER_TERMINATED: few,
            Fault.WORKER_FROZEN: few,
            Fault.INTAKE_KILLED: self.intake_kills,
            Fault.VALKEY_RESTARTED: self.restarts,
            Fault.VALKEY_FROZEN: max(1, self.restarts // 4),
            **{str(name): self.losses for name in LOSSES},
            Fault.VALKEY_OOM: self.refusals,
            Fault.VALKEY_READONLY: self.refusals,
            Fault.OUTPUT_FAILING: few,
            **dict.fromkeys(CONNECTION_FAULTS, few),
        }
        for name, number in numbers.items():
            if any(word in name for word in self.excluded):
                continue
            share = BUSY_SHARE if name == Fault.INTAKE_KILLED else 1.0
            for slot in range(number):
                # One in each part of the time, so that faults are spread over all of it.
                yield (slot + rng.random()) * share * self.seconds / number, name
