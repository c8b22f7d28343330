"""Misbehaviour on request: which call goes wrong, how, and how often."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from sandbox.seeded_random import draw


class Call(StrEnum):
    """The calls of the API."""

    TOKEN = "token"  # noqa: S105 - the name of a call
    SESSION = "session"
    CLAIM = "claim"
    UPLOAD = "upload"
    MESSAGE = "message"
    STATE = "state"
    CREDITS = "credits"
    EXPORT = "export"
    POLL = "poll"
    DOWNLOAD = "download"


_ANY_CALL = frozenset({"refuse", "slow", "reset"})
_ACTIONS: dict[Call, frozenset[str]] = {
    Call.MESSAGE: _ANY_CALL
    | {"silent", "break", "error", "quota", "question", "hang", "mute", "gui", "trailing"},
    Call.EXPORT: _ANY_CALL | {"fail", "stuck"},
    Call.POLL: _ANY_CALL | {"fail", "stuck"},
    Call.DOWNLOAD: _ANY_CALL | {"html", "cut", "gone"},
}

Seconds = Annotated[float, Field(ge=0)]
Ratio = Annotated[float, Field(ge=0, le=1)]


class Fault(BaseModel):
    """One kind of misbehaviour.

    On every call: `refuse` answers with a code, `slow` answers late, `reset` drops the connection.
    Message: `silent`, `question`, `gui` and `trailing` choose what the agent says; `break` cuts the
    stream; `error` and `quota` end it with a failure; `hang` sends only heartbeats for a while and
    `mute` nothing at all. Export and poll: `fail` and `stuck` decide the render's fate. Download:
    `html` sends a page, `cut` half of the file, `gone` answers 404.

    Attributes:
        call: The call that goes wrong.
        action: How; each call knows its own.
        times: How many calls; None means once, or without end when a ratio is given.
        ratio: The share of calls; None means each one.
        session: Only calls of this session.
        picture: Only calls of a session whose last uploaded picture has this name.
        spoken: Only calls of a session that has, or has not, taken a message in.
        code: Code of a `refuse`.
        retry_after: Seconds in a `Retry-After` header of a `refuse`.
        style: How a `refuse` travels; None is the natural way of its code.
        then: What happens to the work behind a broken stream.
        seconds: Length of `slow`, `hang` and `mute`; for `break`, how long the work goes on.
        done: Whether a `reset` drops the connection after the work was done.
        at: Where in the stream (0-1) `break`, `error` and `quota` strike.
        raw: An `error` that is not JSON, as older servers send it.
        clean: A `break` or `cut` that looks like a proper end to the transport.
        via: Which way of download; None is both.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    call: Call
    action: str
    times: Annotated[int, Field(ge=1)] | None = None
    ratio: Ratio | None = None
    session: str | None = None
    picture: str | None = None
    spoken: bool | None = None
    code: int = 500
    retry_after: Annotated[int, Field(ge=0)] | None = None
    style: Literal["envelope", "status"] | None = None
    then: Literal["finish", "stay"] = "finish"
    seconds: Seconds | None = None
    done: bool = False
    at: Ratio = 0.5
    raw: bool = False
    clean: bool = False
    via: Literal["link", "proxy"] | None = None

    @model_validator(mode="after")
    def _action_fits(self) -> Self:
        allowed = _ACTIONS.get(self.call, _ANY_CALL)
        if self.action not in allowed:
            raise ValueError(f"{self.call} knows: {', '.join(sorted(allowed))}")
        return self

    def fits(self, hit: "CallContext") -> bool:
        """Whether a call is of the kind that this fault is for."""
        return (
            self.call is hit.call
            and self.session in (None, hit.session)
            and self.picture in (None, hit.picture)
            and self.spoken in (None, hit.spoken)
            and self.via in (None, hit.via)
        )


@dataclass(frozen=True, slots=True)
class CallContext:
    """A call as the faults see it.

    Attributes:
        call: Which call.
        session: The session that it is about, as far as it says so.
        picture: The name of that session's last picture.
        spoken: Whether that session has taken a message in.
        via: For a download: which way.
    """

    call: Call
    session: str | None = None
    picture: str | None = None
    spoken: bool = False
    via: str | None = None


FAULTS = TypeAdapter(list[Fault])


class _ActiveFault:
    """A fault with what is left of it."""

    def __init__(self, fault: Fault, number: int) -> None:
        self.fault = fault
        self.number = number
        self.seen = 0
        self.left = fault.times or (None if fault.ratio is not None else 1)


class Faults:
    """The faults in force, oldest first."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._active: list[_ActiveFault] = []
        self._numbers = 0

    def add(self, faults: list[Fault]) -> None:
        """Put further faults in force."""
        for fault in faults:
            self._numbers += 1
            self._active.append(_ActiveFault(fault, self._numbers))

    def clear(self) -> None:
        """Behave again."""
        self._active.clear()

    def take(self, hit: CallContext) -> Fault | None:
        """The fault that hits this call, if any. Uses it up by one."""
        for active in self._active:
            if active.left == 0 or not active.fault.fits(hit):
                continue
            active.seen += 1
            ratio = active.fault.ratio
            if ratio is not None and draw(self._seed, "fault", active.number, active.seen) >= ratio:
                continue
            if active.left is not None:
                active.left -= 1
            return active.fault
        return None

    def as_json(self) -> list[dict[str, object]]:
        """The faults in force and how many times each will still strike."""
        return [
            {**active.fault.model_dump(exclude_none=True), "left": active.left}
            for active in self._active
            if active.left != 0
        ]
