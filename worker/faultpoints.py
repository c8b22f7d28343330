"""Fault points: named points around durable writes and requests, at which tests inject faults.

Only tests use them. No fault is injected unless ``REELQUEUE_FAULTPOINTS`` was set when the process
started. The variable is a comma-separated list of ``NAME:before=ACTION@N`` or
``NAME:after=ACTION@N``. The fault is injected when the point is passed for the N-th time, and with
``N+`` at each later time too.

- ``kill``: the process ends by SIGKILL, without cleaning up.
- ``freeze``: the process stops by SIGSTOP, until somebody sends SIGCONT.
- ``full``: ``OSError`` with ``ENOSPC`` is raised, as on a full disk.
"""

import errno
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Final

VARIABLE: Final = "REELQUEUE_FAULTPOINTS"

WORKER: Final = (
    *(
        "due",
        "outbox_ack",
        "outbox_lease",
        "events_sent",
        "decline",
        "claim",
        "claim_polls",
        "commit_polls",
        "heartbeat",
        "watch",
        "set_clock",
    ),
    *("begin_paid", "paid_fact", "withdraw_intent", "adopt", "restore_end", "set_identity"),
    *("balance", "credits_refused", "rate_limited", "token_refused"),
    *("lease_receivers", "webhook_due", "webhook_sent", "release_receiver"),
    "update_facts.clip_name",
    "update_facts.render_submitted",
    *("commit.preparing", "commit.generating", "commit.settling", "commit.rendering"),
    *("commit.delivering", "commit.held", "commit.succeeded", "commit.failed"),
    "commit.cancelled",
    *("api.token", "api.session", "api.claim", "api.upload", "api.message", "api.state"),
    *("api.credits", "api.export", "api.poll", "api.download"),
    *("store.write", "store.rename", "wakeup", "result", "journal.create", "journal.put"),
    *(
        "journal.check",
        "journal.identity",
        "journal.mirror",
        "journal.next",
        "journal.mark",
        "journal.end",
    ),
    "intake",
)
"""Points that workers pass. Those of update_facts and commit carry the first field or the state."""

PRODUCER: Final = (
    *("submit", "submit_rows", "cancel", "release", "retry"),
    *("flow_gate", "batch.open", "batch.seal"),
)
"""Points that the command line and other producers pass, besides those of the store."""

POINTS: Final = tuple(
    f"{name}:{side}" for name in WORKER + PRODUCER for side in ("before", "after")
)

_SPEC: Final = re.compile(
    r"(?P<point>[^=]+)=(?P<action>kill|freeze|full)@(?P<number>[1-9]\d*)(?P<on>\+?)"
)
_NO_FAULT: Final = nullcontext()


@dataclass(frozen=True, slots=True)
class _Fault:
    """What happens at a point, and at which passage of it."""

    action: str
    number: int
    repeats: bool

    def is_due(self, passage: int) -> bool:
        return passage == self.number or (self.repeats and passage > self.number)


def parse(text: str) -> dict[str, _Fault]:
    """Parse the variable's value.

    Raises:
        ValueError: It is malformed, or names a point that does not exist.
    """
    faults = {}
    for spec in filter(None, text.split(",")):
        found = _SPEC.fullmatch(spec)
        if found is None or found["point"] not in POINTS:
            raise ValueError(
                f"{VARIABLE}: {spec!r} is not a fault point with an action "
                "such as commit.held:after=kill@1"
            )
        faults[found["point"]] = _Fault(found["action"], int(found["number"]), bool(found["on"]))
    return faults


_faults: Final = parse(os.environ.get(VARIABLE, ""))
_passages: Final[Counter[str]] = Counter()


def faultpoint(name: str) -> AbstractContextManager[None]:
    """Pass the point before a block and, if the block raises nothing, the point after it."""
    return _pass_both(name) if _faults else _NO_FAULT


@contextmanager
def _pass_both(name: str) -> Iterator[None]:
    _pass(f"{name}:before")
    yield
    _pass(f"{name}:after")


def _pass(point: str) -> None:
    if point not in POINTS:
        _log(f"fault point {point} is not listed")
    _passages[point] += 1
    fault = _faults.get(point)
    if fault is None or not fault.is_due(_passages[point]):
        return
    _log(f"fault point {point}, passage {_passages[point]}: {fault.action}")
    if fault.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault.action == "freeze":
        # To this thread, because a signal to the process could stop it some instructions later.
        signal.raise_signal(signal.SIGSTOP)
        return
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _log(text: str) -> None:
    """Write without a buffer, because SIGKILL would discard it."""
    os.write(2, f"{text}\n".encode())
