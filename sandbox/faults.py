"""Faults that testers inject: which call fails, how, and how often."""

import itertools
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from sandbox.option_types import ErrorStyle
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
    """A fault to inject.

    For every call, `refuse` replies with an error code, `slow` replies late, and `reset` resets
    the connection. For a message, `silent`, `question`, `gui` and `trailing` choose the agent's
    text; `break` cuts the stream; `error` and `quota` end it with a failure; `hang` sends only
    heartbeats for a while, and `mute` nothing at all. For an export and a poll, `fail` and `stuck`
    decide the outcome of the render. For a download, `html` sends a web page, `cut` sends half of
    the file, and `gone` replies with 404.

    Attributes:
        call: The call that fails.
        action: How it fails; each call has its own actions.
        times: For how many calls; None means one, or all if there is a ratio.
        ratio: The share (0-1) of the calls; None means each.
        session: Only calls of this session.
        picture: Only calls of a session whose last uploaded picture has this name.
        spoken: Only calls of a session in which a message was, or was not, accepted.
        code: The error code of `refuse`.
        retry_after: Seconds in the `Retry-After` header of `refuse`.
        style: How the error of `refuse` is sent; None means as usual for its code.
        then: Whether the work continues after a `break` (`finish`) or stops there (`stay`).
        seconds: Duration of `slow`, `hang` and `mute`; for `break`, of the rest of the work.
        done: Whether a `reset` comes after the call's work instead of before it.
        at: The moment of `break`, `error` and `quota`, as a share (0-1) of the stream's duration.
        raw: Whether an `error` is sent in the form of older servers, which is not JSON.
        clean: Whether a `break` or `cut` looks like a regular end to the client's transport.
        via: The way of download, `link` or `proxy`; None means both.
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
    style: ErrorStyle | None = None
    then: Literal["finish", "stay"] = "finish"
    seconds: Seconds | None = None
    done: bool = False
    at: Ratio = 0.5
    raw: bool = False
    clean: bool = False
    via: Literal["link", "proxy"] | None = None

    @model_validator(mode="after")
    def _check_action(self) -> Self:
        allowed = _ACTIONS.get(self.call, _ANY_CALL)
        if self.action not in allowed:
            raise ValueError(f"{self.call} supports: {', '.join(sorted(allowed))}")
        return self

    def fits(self, context: "CallContext") -> bool:
        """Return whether this fault applies to a call."""
        return (
            self.call is context.call
            and self.session in (None, context.session)
            and self.picture in (None, context.picture)
            and self.spoken in (None, context.spoken)
            and self.via in (None, context.via)
        )


@dataclass(frozen=True, slots=True)
class CallContext:
    """The properties of a call that decide which fault applies to it.

    Attributes:
        call: The call.
        session: The session that it names, if it names one.
        picture: The name of that session's last picture.
        spoken: Whether a message was accepted in that session.
        via: For a download: `link` or `proxy`.
    """

    call: Call
    session: str | None
    picture: str | None
    spoken: bool
    via: str | None


FAULTS = TypeAdapter(list[Fault])


class _ActiveFault:
    """A fault, and for how many further calls it is active.

    Attributes:
        ordinal: The fault's number among all that were added.
        seen: How many calls it has fitted, whether they failed or not.
        left: For how many more calls it is active; None means all.
    """

    def __init__(self, fault: Fault, ordinal: int) -> None:
        self.fault = fault
        self.ordinal = ordinal
        self.seen = 0
        self.left = fault.times or (None if fault.ratio is not None else 1)


class Faults:
    """The active faults, oldest first."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._active: list[_ActiveFault] = []
        self._numbers = itertools.count(1)

    def add(self, faults: list[Fault]) -> None:
        """Activate faults, in addition to those that are active."""
        self._active += [_ActiveFault(fault, next(self._numbers)) for fault in faults]

    def clear(self) -> None:
        """Drop all faults."""
        self._active.clear()

    def take(self, context: CallContext) -> Fault | None:
        """Return the fault that applies to a call, if there is one, and count the call."""
        for active in self._active:
            if active.left == 0 or not active.fault.fits(context):
                continue
            active.seen += 1
            ratio = active.fault.ratio
            if (
                ratio is not None
                and draw(self._seed, "fault", active.ordinal, active.seen) >= ratio
            ):
                continue
            if active.left is not None:
                active.left -= 1
            return active.fault
        return None

    def as_json(self) -> list[dict[str, object]]:
        """Return the active faults, each with the number of further calls to which it applies."""
        return [
            {**active.fault.model_dump(exclude_none=True), "left": active.left}
            for active in self._active
            if active.left != 0
        ]
