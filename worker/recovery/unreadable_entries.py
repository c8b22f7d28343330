"""The jobs that have a journal entry which cannot be read, as recoveries and steps have met them.

They are counted when they are met, so that nobody has to read the whole journal to count them.
"""

from collections.abc import Iterable
from typing import Final

from worker.ledger.reader import Reader

KEY: Final = "journal_unreadable"


class UnreadableEntries:
    """The set of these jobs. Each method raises `RedisError`."""

    def __init__(self, ledger: Reader) -> None:
        self._redis = ledger.redis
        self._key = ledger.key(KEY)

    def add(self, job_id: str) -> None:
        """Note that a job has one."""
        self._redis.sadd(self._key, job_id)

    def discard(self, job_id: str) -> None:
        """Note that a job's entries are gone, or can be read now."""
        self._redis.srem(self._key, job_id)

    def among(self, job_ids: Iterable[str]) -> frozenset[str]:
        """Return those of the jobs that have one."""
        asked = list(job_ids)
        found = self._redis.smismember(self._key, asked) if asked else []
        return frozenset(job_id for job_id, is_one in zip(asked, found, strict=True) if is_one)

    def count(self) -> int:
        """Count the jobs that have one."""
        return int(self._redis.scard(self._key))

    def some(self, most: int) -> list[str]:
        """Name some of these jobs."""
        return sorted(self._redis.srandmember(self._key, most))
