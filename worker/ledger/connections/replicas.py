"""Writes that count only after replicas have confirmed them.

Source: docs/operations.md, "Replicas".
"""

from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import RedisError

from config.settings import Settings

SHARE_OF_TIMEOUT: Final = 0.5
"""How long replicas are waited for, as a share of the connection's time-out."""


class NotReplicatedError(RedisError):
    """A write is on the primary, but not enough replicas have confirmed it."""


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many replicas must confirm a write.

    Attributes:
        count: How many; 0 waits for none.
        fsync: Whether each must have flushed the write to disk, and the primary too.
        timeout_ms: How long to wait for them.
    """

    count: int = 0
    fsync: bool = True
    timeout_ms: int = 1000

    @classmethod
    def from_settings(cls, settings: Settings) -> "Replicas":
        """Return what the settings require. The time-out is below that of the connection."""
        timeout = settings.redis.address.timeouts.get("socket_timeout", settings.redis_timeout)
        return cls(
            count=settings.redis.replicas,
            fsync=settings.redis.durability == "fsync",
            timeout_ms=max(1, int(timeout * 1000 * SHARE_OF_TIMEOUT)),
        )

    def wait_command(self, timeout_ms: int | None = None) -> tuple[str | int, ...]:
        """Return the command that waits for the confirmations of the connection's writes."""
        limit = self.timeout_ms if timeout_ms is None else timeout_ms
        return ("WAITAOF", 1, self.count, limit) if self.fsync else ("WAIT", self.count, limit)

    def check(self, reply: Any) -> None:  # noqa: ANN401 - a reply of redis-py
        """Check the reply to the wait command.

        Raises:
            NotReplicatedError: Too few have confirmed.
        """
        local, confirmed = map(int, reply) if self.fsync else (1, int(reply))
        if local < 1 or confirmed < self.count:
            raise NotReplicatedError(
                f"{confirmed} of {self.count} replicas confirmed the write within "
                f"{self.timeout_ms} ms" + ("" if local else ", and the primary did not flush it")
            )
