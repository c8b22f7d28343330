"""Messages that were set aside: stored unchanged, with the reason, until a person returns them."""

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from worker.ledger.ledger import Ledger

MAX_KEPT_BYTES: Final = 2**20
"""Of a longer message, only the length and the hash are kept."""


@dataclass(frozen=True, slots=True)
class SetAsideMessage:
    """One message. Its text is never shown: it may hold prompts and signed addresses.

    Attributes:
        sha256: The hash of the message.
        length: Its length in bytes.
        reason: Why it was set aside.
        at: When, in milliseconds of the ledger's clock.
    """

    sha256: str
    length: int
    reason: str
    at: int


class SetAsideMessages:
    """The messages of one namespace that were set aside, in the ledger's Redis."""

    def __init__(self, ledger: Ledger) -> None:
        self._redis: Any = ledger.redis
        self._ledger = ledger
        self._key = ledger.key("messages_aside")

    def add(self, raw: bytes, reason: str) -> SetAsideMessage:
        """Keep a message. Adding it again changes nothing but the reason and the time."""
        digest = hashlib.sha256(raw).hexdigest()
        kept = len(raw) <= MAX_KEPT_BYTES
        value = {
            "length": len(raw),
            "reason": reason,
            "at": self._ledger.now_ms(),
            "raw": base64.b64encode(raw).decode() if kept else None,
        }
        self._redis.hset(self._key, digest, json.dumps(value))
        return _message(digest, value)

    def count(self) -> int:
        """Return the number of messages."""
        return int(self._redis.hlen(self._key))

    def digests(self) -> list[str]:
        """Return the hashes of all messages."""
        return list(self._redis.hkeys(self._key))

    def some(self, most: int) -> list[SetAsideMessage]:
        """Return some of the messages, in the order in which they were set aside."""
        found: list[SetAsideMessage] = []
        for digest, text in self._redis.hscan_iter(self._key, count=100):
            if len(found) == most:
                break
            found.append(_message(digest, json.loads(text)))
        return sorted(found, key=lambda message: message.at)

    def give_back(self, digest: str, put: Callable[[bytes], None]) -> bool:
        """Pass a message, as it was sent, to a function, and then delete it here.

        A message that was set aside again in the meantime stays.

        Returns:
            False if its text was not kept.
        """
        text = self._redis.hget(self._key, digest)
        raw = json.loads(text)["raw"] if text else None
        if raw is None:
            return False
        put(base64.b64decode(raw))

        def delete(pipe: Any) -> None:  # noqa: ANN401 - see the constructor
            unchanged = pipe.hget(self._key, digest) == text
            pipe.multi()
            if unchanged:
                pipe.hdel(self._key, digest)

        self._redis.transaction(delete, self._key)
        return True


def _message(digest: str, value: dict[str, Any]) -> SetAsideMessage:
    return SetAsideMessage(
        sha256=digest,
        length=int(value["length"]),
        reason=str(value["reason"]),
        at=int(value["at"]),
    )
