"""A job as Flower shows it: the events of a Celery task ``reelqueue.job`` with the job's id.

Celery 5.7 and Flower 2.2 keep each field of a task until an event replaces it. So every event has
all fields, with None for those that do not apply. Only the event that ends a job has ``runtime``,
because Flower counts each one in its histogram.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from config.redaction import redact
from worker.ledger.model.fields import int_or_zero, object_of
from worker.ledger.model.states import State
from worker.shown_text import on_one_line

NAME: Final = "reelqueue.job"
RECORD_FIELDS: Final = (
    *("state", "reason", "message", "remedy", "payload", "batch", "clip", "worker", "reopened"),
    *("created_at", "started_at", "finished_at"),
)
"""The fields of a job's record that its events are made from."""

HIDDEN: Final = "…"
_MIN_PROMPT: Final = 4
"""A shorter prompt could be a part of ordinary words."""
_MAX_TEXT: Final = 1000
_QUERY: Final = re.compile(r"(https?://[^\s?#\"'<>]*)[?#][^\s\"'<>]*", re.IGNORECASE)
_ENDED: Final = {
    State.SUCCEEDED: "task-succeeded",
    State.FAILED: "task-failed",
    State.CANCELLED: "task-revoked",
}

Event = tuple[str, dict[str, Any]]
"""The type of an event, and its fields."""


@dataclass(frozen=True, slots=True)
class JobTask:
    """What the events of a job are made from.

    Attributes:
        job_id: The job.
        record: ``RECORD_FIELDS`` of its record; "" for a field that it does not have.
        batch: The name of its batch; empty for a single job.
        clip: The address of its clip; empty if it has none.
        is_old: Whether Flower may show an end of the job that is no longer its state.
    """

    job_id: str
    record: Mapping[str, str]
    batch: str = ""
    clip: str = ""
    is_old: bool = False
    _payload: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        """Parse the payload."""
        object.__setattr__(self, "_payload", object_of(self.record.get("payload")))

    @property
    def reopened(self) -> bool:
        """Whether the job was reopened after its end, and no event has said so yet."""
        return self.record.get("reopened") == "1"

    def events(self) -> Iterator[Event]:
        """Yield the events after which Flower shows the present state, whatever it shows now."""
        kind = self.record.get("state", "")
        state = State(kind) if kind in set(State) else State.HELD
        retried = state in (State.HELD, State.QUEUED)
        if retried or self.reopened or self.is_old:
            yield "task-retried", self._fields(state)
        if state.is_running:
            yield "task-received", self._fields(state)
            yield "task-started", self._fields(state)
        elif state in _ENDED:
            yield _ENDED[state], {**self._fields(state), "runtime": self._runtime()}

    def _fields(self, state: State) -> dict[str, Any]:
        started = _seconds(self.record.get("started_at"))
        finished = _seconds(self.record.get("finished_at"))
        names = (_image_name(str(self._payload.get("image", ""))), self.batch)
        reason = self.record.get("reason") if state in (State.HELD, State.FAILED) else ""
        return {
            "uuid": self.job_id,
            "name": NAME,
            "args": repr(tuple(map(on_one_line, filter(None, names)))),
            # Flower finds `kwargs:reason=credits`, and does not search exceptions.
            "kwargs": repr({"reason": str(reason)} if reason else {}),
            "result": self.clip or None if state is State.SUCCEEDED else None,
            "exception": self._exception(state),
            "traceback": None,
            "sent": _seconds(self.record.get("created_at")),
            "received": started,
            "started": started,
            "succeeded": finished if state is State.SUCCEEDED else None,
            "failed": finished if state is State.FAILED else None,
            "revoked": finished if state is State.CANCELLED else None,
            "retries": 0,
            "eta": None,
            "expires": None,
            "root_id": self.job_id,
            "parent_id": None,
        }

    def _exception(self, state: State) -> str | None:
        code, message = self.record.get("reason", ""), self.record.get("message", "")
        match state:
            case State.FAILED:
                text = f"{code}: {message}"
            case State.HELD:
                text = f"held, {code}: {message} {self.record.get('remedy', '')}"
            case State.QUEUED:
                text = "The job was released or retried, and waits in the queue."
            case State.CANCELLED:
                text = "cancelled"
            case _:
                return None
        return self._without_secrets(text)

    def _without_secrets(self, text: str) -> str:
        """Return a text without the prompt, tokens, and the signatures of addresses."""
        shown = redact(_QUERY.sub(r"\1", on_one_line(text)))
        prompt = on_one_line(str(self._payload.get("prompt", "")))
        if len(prompt) >= _MIN_PROMPT:
            shown = re.sub(re.escape(prompt), HIDDEN, shown, flags=re.IGNORECASE)
        return shown if len(shown) <= _MAX_TEXT else f"{shown[:_MAX_TEXT]}{HIDDEN}"

    def _runtime(self) -> float | None:
        started = int_or_zero(self.record.get("started_at"))
        finished = int_or_zero(self.record.get("finished_at"))
        return max(0, finished - started) / 1000 if started and finished else None


def clip_key(record: Mapping[str, str]) -> str:
    """Return the key of a job's clip in the output store; empty if it has none."""
    return str(object_of(record.get("clip")).get("key", ""))


def _image_name(image: str) -> str:
    """Return the file name in a path or a URL, without the URL's query and signature."""
    is_url = image.lower().startswith(("https://", "http://"))
    try:
        path = unquote(urlsplit(image).path) if is_url else image.replace("\\", "/")
    except ValueError:
        return ""
    return PurePosixPath(path).name


def _seconds(milliseconds: str | None) -> float | None:
    return int_or_zero(milliseconds) / 1000 or None
