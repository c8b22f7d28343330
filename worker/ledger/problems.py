"""Problems that make jobs wait in all or some workers, such as a store that fails or a full disk.

A worker reports a problem each time it occurs. A problem that no worker has reported for some
minutes is over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from worker.ledger.reader import Reader

FORGET_AFTER_MS: Final = 180_000
"""Longer than a job waits before it repeats a step that has met a problem."""


class Part(StrEnum):
    """The parts that can have a problem: the stores, and the resources of a worker."""

    MEDIA_STORE = "media_store"
    OUTPUT_STORE = "output_store"
    SCRATCH_DISK = "scratch_disk"
    OPEN_FILES = "open_files"
    MEMORY = "memory"
    THREADS = "threads"


@dataclass(frozen=True, slots=True)
class Problem:
    """A current problem, with what to do about it, and for how long it has lasted."""

    part: Part
    message: str
    remedy: str
    seconds: float


def report_problem(reader: Reader, part: Part, message: str, remedy: str) -> bool:
    """Record that a part has a problem now. Return whether the problem is new."""
    key = reader.key("problem", part)
    with reader.redis.pipeline() as pipe:
        pipe.hsetnx(key, "since", reader.now_ms())
        pipe.hset(key, mapping={"message": message, "remedy": remedy})
        pipe.pexpire(key, FORGET_AFTER_MS)
        return bool(pipe.execute()[0])


def current_problems(reader: Reader) -> Sequence[Problem]:
    """Return the current problems."""
    now = reader.now_ms()
    with reader.redis.pipeline(transaction=False) as pipe:
        for part in Part:
            pipe.hgetall(reader.key("problem", part))
        records = pipe.execute()
    return [
        Problem(
            part,
            record.get("message", ""),
            record.get("remedy", ""),
            max(0, now - int(record["since"])) / 1000,
        )
        for part, record in zip(Part, records, strict=True)
        if "since" in record
    ]
