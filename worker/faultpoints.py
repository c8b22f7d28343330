"""Named points around everything durable and every request: where the tests let a process die.

For tests alone. Nothing is armed unless ``REELQUEUE_FAULTPOINTS`` was set when the process
started, and then a point costs one comparison. The variable is a comma-separated list of
``NAME:before=ACTION@N`` or ``NAME:after=ACTION@N``: the N-th passage of that point is hit, and
with ``N+`` each one from then on.

- ``kill``: the process ends by SIGKILL, with no chance to clean up.
- ``full``: ``OSError`` with ``ENOSPC`` is raised, as a full disk does.
"""

import errno
import os
import re
import signal
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Final

VARIABLE: Final = "REELQUEUE_FAULTPOINTS"

WORKER: Final = (
    *("due", "outbox_ack", "decline", "claim", "heartbeat"),
    *("begin_paid", "paid_fact", "release_paid"),
    *("balance", "credits_refused", "rate_limited", "token_refused"),
    *("lease_receivers", "webhook_due", "webhook_sent", "release_receiver"),
    "update_facts.account",
    "update_facts.token_id",
    "update_facts.clip_name",
    "update_facts.media_name",
    "update_facts.session_id",
    "update_facts.claim_url",
    "update_facts.uploading",
    "update_facts.baseline",
    "update_facts.progress",
    "update_facts.render_id",
    "update_facts.render_submitted",
    *("commit.preparing", "commit.generating", "commit.settling", "commit.rendering"),
    *("commit.delivering", "commit.held", "commit.succeeded", "commit.failed"),
    "commit.cancelled",
    *("api.token", "api.session", "api.claim", "api.upload", "api.message", "api.state"),
    *("api.credits", "api.export", "api.poll", "api.download"),
    *("store.write", "store.rename", "wakeup", "result", "journal.create", "journal.put"),
)
"""What a worker passes. An update of facts is named by its first field, a commit by its state."""

PRODUCER: Final = (
    *("submit", "cancel", "release", "retry", "flow_gate", "batch.open", "batch.seal"),
)
"""What the command line and other producers pass besides the store."""

POINTS: Final = tuple(
    f"{name}:{side}" for name in WORKER + PRODUCER for side in ("before", "after")
)

_SPEC: Final = re.compile(r"(?P<point>[^=]+)=(?P<action>kill|full)@(?P<number>[1-9]\d*)(?P<on>\+?)")
_NOTHING: Final = nullcontext()


@dataclass(frozen=True, slots=True)
class _Trap:
    """What happens at a point, and at which passage."""

    action: str
    number: int
    repeats: bool

    def springs(self, passage: int) -> bool:
        return passage == self.number or (self.repeats and passage > self.number)


def read(text: str) -> dict[str, _Trap]:
    """Read the variable's value.

    Raises:
        ValueError: It makes no sense, or names a point that does not exist.
    """
    traps = {}
    for spec in filter(None, text.split(",")):
        found = _SPEC.fullmatch(spec)
        if found is None or found["point"] not in POINTS:
            raise ValueError(
                f"{VARIABLE}: {spec!r} is no fault point with an action, "
                "such as commit.held:after=kill@1"
            )
        traps[found["point"]] = _Trap(found["action"], int(found["number"]), bool(found["on"]))
    return traps


_traps: Final = read(os.environ.get(VARIABLE, ""))
_passages: Final[Counter[str]] = Counter()


def around(name: str) -> AbstractContextManager[None]:
    """Pass the point before a block and, when the block ends well, the point after it."""
    return _Around(name) if _traps else _NOTHING


class _Around(AbstractContextManager[None]):
    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        _pass(f"{self._name}:before")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            _pass(f"{self._name}:after")


def _pass(point: str) -> None:
    if point not in POINTS:
        _say(f"fault point {point} is not listed")
    _passages[point] += 1
    trap = _traps.get(point)
    if trap is None or not trap.springs(_passages[point]):
        return
    _say(f"fault point {point}, passage {_passages[point]}: {trap.action}")
    if trap.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _say(text: str) -> None:
    """Write at once: no buffer outlives SIGKILL."""
    os.write(2, f"{text}\n".encode())
