"""The jobs for which a recovery or a step has found a journal entry that cannot be read.

They are recorded when they are found, because to count them by a search takes the whole journal.
"""

from collections.abc import Iterable
from typing import Final

from worker.ledger.reader import Reader

KEY: Final = "journal_unreadable"


class UnreadableEntries:
    """The set of jobs with an unreadable journal entry. Each method raises `RedisError`."""

    def __init__(self, ledger: Reader) -> None:
        self._redis = ledger.redis
        self._key = ledger.key(KEY)

    def add(self, job_id: str) -> None:
        """Record that a job has an unreadable entry."""
        self._redis.sadd(self._key, job_id)

    def discard(self, job_id: str) -> None:
        """Record that a job's entries are gone, or can be read now."""
        self._redis.srem(self._key, job_id)

    def among(self, job_ids: Iterable[str]) -> frozenset[str]:
        """Return those of the given jobs that have an unreadable entry."""
        asked = list(job_ids)
        found = self._redis.smismember(self._key, asked) if asked else []
        return frozenset(job_id for job_id, has_one in zip(asked, found, strict=True) if has_one)

    def count(self) -> int:
        """Count the jobs that have an unreadable entry."""
        return int(self._redis.scard(self._key))

    def some(self, most: int) -> list[str]:
        """Return the ids of at most `most` of these jobs."""
        return sorted(self._redis.srandmember(self._key, most))
