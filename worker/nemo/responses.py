"""What the video API replies, read at the edge and handed inwards as frozen records.

Replies are read liberally: unknown fields are ignored and only what the contract's table "Calls"
promises is required. A reply without it is a ``BadAnswer`` that names the call and the field.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    SecretStr,
    StringConstraints,
    ValidationError,
)

from worker.nemo.draft import Draft
from worker.nemo.envelope import message_of
from worker.nemo.errors import BadAnswer, Call, sanitize

# --- what callers get ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TokenGrant:
    """An anonymous token.

    Attributes:
        token: The access token.
        credits: What it came with, if the reply says so.
        expires_in: Its life in seconds, if the reply says so.
    """

    token: SecretStr
    credits: int | None
    expires_in: float | None


@dataclass(frozen=True, slots=True)
class Session:
    """A session and the task it belongs to.

    Attributes:
        task_id: The task.
        session_id: The session.
        bind_id: What binds an anonymous account to a registered one, if the reply has it.
    """

    task_id: str
    session_id: str
    bind_id: str | None


@dataclass(frozen=True, slots=True)
class State:
    """One reading of a session.

    Attributes:
        draft: The draft.
        fingerprint: A hash over all that an edit can change; equal readings, equal hashes.
        ready: Whether the draft can be exported.
        bind_id: As in ``Session``.
    """

    draft: Draft
    fingerprint: str
    ready: bool
    bind_id: str | None


@dataclass(frozen=True, slots=True)
class Balance:
    """An account's credits.

    Attributes:
        available: Free to spend.
        frozen: Reserved by running work.
        total: Both.
    """

    available: float
    frozen: float
    total: float


class RenderState(StrEnum):
    """Where a render stands."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RenderStatus:
    """One look at a render.

    Attributes:
        status: Where it stands.
        url: The clip, when it is completed and the reply names it.
        message: What the reply says about it, tokens left out.
    """

    status: RenderState
    url: str | None
    message: str | None


# --- what the wire holds ---------------------------------------------------------------------


def _number_or_none(value: object) -> float | None:
    """Read an optional number; one that cannot be read is as good as none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _text_or_none(value: object) -> str | None:
    """Read an optional identifier, also from a number."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return str(value).strip() or None


def _path_segment(value: str) -> str:
    """Refuse an identifier that would climb out of a path."""
    if value in (".", ".."):
        raise ValueError("names no resource")
    return value


_Identifier = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=512),
    AfterValidator(_path_segment),
]
_MaybeNumber = Annotated[float | None, BeforeValidator(_number_or_none)]
_MaybeText = Annotated[str | None, BeforeValidator(_text_or_none)]
_Secret = Annotated[SecretStr, Field(min_length=1)]


class _Reply(BaseModel):
    model_config = ConfigDict(
        extra="ignore", frozen=True, coerce_numbers_to_str=True, hide_input_in_errors=True
    )


class _TokenReply(_Reply):
    token: _Secret
    credits: _MaybeNumber = None
    expires_in: _MaybeNumber = None


class _SessionReply(_Reply):
    task_id: _Identifier
    session_id: _Identifier
    bind_id: _MaybeText = None


class _ClaimReply(_Reply):
    claim_token: _Secret


class _Project(_Reply):
    draft: Any = None
    generated_media: Any = None
    video_infos: Any = None
    bind_id: _MaybeText = None


class _StateReply(_Reply):
    state: _Project | None
    bind_id: _MaybeText = None


class _BalanceReply(_Reply):
    available: FiniteFloat
    frozen: _MaybeNumber = None
    total: _MaybeNumber = None


_R = TypeVar("_R", bound=_Reply)


def _read(call: Call, model: type[_R], found: Mapping[str, Any]) -> _R:
    data = found.get("data")
    if not isinstance(data, dict):
        raise BadAnswer(call, "the reply has no data")
    try:
        return model.model_validate(data)
    except ValidationError as exc:
        faults = "; ".join(
            f"data.{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            for fault in exc.errors(include_input=False, include_url=False)
        )
    raise BadAnswer(call, faults)


# --- from one to the other ---------------------------------------------------------------------


def read_token(found: Mapping[str, Any]) -> TokenGrant:
    """Read the reply to a token call.

    Raises:
        BadAnswer: It has no token.
    """
    reply = _read(Call.TOKEN, _TokenReply, found)
    granted = None if reply.credits is None else int(reply.credits)
    return TokenGrant(reply.token, granted, reply.expires_in)


def read_session(found: Mapping[str, Any]) -> Session:
    """Read the reply to a session call.

    Raises:
        BadAnswer: It lacks a task id or a session id.
    """
    reply = _read(Call.SESSION, _SessionReply, found)
    return Session(reply.task_id, reply.session_id, reply.bind_id)


def read_claim(found: Mapping[str, Any]) -> SecretStr:
    """Read the claim token.

    Raises:
        BadAnswer: There is none.
    """
    return _read(Call.CLAIM, _ClaimReply, found).claim_token


def read_state(found: Mapping[str, Any]) -> State:
    """Read a session's state; a state of null is that of a session without work.

    Raises:
        BadAnswer: It has no state, or one nested beyond reading.
    """
    reply = _read(Call.STATE, _StateReply, found)
    project = reply.state or _Project()
    draft = Draft.read(project.draft)
    return State(draft, _fingerprint(project), draft.is_ready, reply.bind_id or project.bind_id)


def read_balance(found: Mapping[str, Any]) -> Balance:
    """Read the credits; what is frozen counts as nothing where it is not said.

    Raises:
        BadAnswer: What is available cannot be read.
    """
    reply = _read(Call.CREDITS, _BalanceReply, found)
    frozen = reply.frozen or 0.0
    total = reply.available + frozen if reply.total is None else reply.total
    return Balance(reply.available, frozen, total)


def read_render(call: Call, found: Mapping[str, Any]) -> RenderStatus:
    """Read a render's status, at top level or in ``data`` (contract, "Every call").

    Raises:
        BadAnswer: There is no status in either place, or one that the contract does not know.
    """
    data = found.get("data")
    places = [found, data] if isinstance(data, dict) else [found]
    named = [str(place["status"]).lower() for place in places if place.get("status") is not None]
    known = [status for status in named if status in set(RenderState)]
    if not known:
        raise BadAnswer(call, f"status: {', '.join(named) or 'missing'}")
    status = RenderState(known[0])
    url = next(filter(None, map(_output_url, places)), None)
    words = sanitize(next(filter(None, map(message_of, reversed(places))), ""))
    return RenderStatus(status, url, words or None)


def _output_url(place: Mapping[str, Any]) -> str | None:
    output = place.get("output")
    url = output.get("url") if isinstance(output, dict) else output
    return url.strip() or None if isinstance(url, str) else None


def _fingerprint(project: _Project) -> str:
    """Hash what an edit can change; a field that is missing, null or empty is the same."""
    parts = (project.draft, project.generated_media, project.video_infos)
    try:
        canonical = json.dumps(
            [part or None for part in parts], sort_keys=True, separators=(",", ":")
        )
    except RecursionError:
        raise BadAnswer(Call.STATE, "data.state is nested too deeply") from None
    return hashlib.sha256(canonical.encode()).hexdigest()
