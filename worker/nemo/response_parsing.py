"""Parses the responses of the video API.

Parsing is lenient: unknown fields are ignored, and only the fields that docs/video-api.md lists
(section "Calls") are required. A response without one of them is a ``BadAnswer`` that names the
call and the field.
"""

import hashlib
import json
from collections.abc import Mapping
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

from worker.nemo.draft import Draft, number_or_none
from worker.nemo.envelope import message_of
from worker.nemo.errors import BadAnswer, Call, sanitize
from worker.nemo.responses import (
    Balance,
    RenderState,
    RenderStatus,
    Session,
    SessionState,
    TokenGrant,
)
from worker.nemo.surrogates import whole_characters


def _text_or_none(value: object) -> str | None:
    """Read an optional identifier, also from a number."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return whole_characters(str(value)).strip() or None


def _path_segment(value: str) -> str:
    """Refuse an identifier that is a relative path."""
    if value in (".", ".."):
        raise ValueError("not an identifier")
    return value


def _whole_secret(value: SecretStr) -> SecretStr:
    """Refuse a token with an unpaired surrogate, which no header or link can contain."""
    secret = value.get_secret_value()
    if whole_characters(secret) != secret:
        raise ValueError("not valid text")
    return value


_Identifier = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=512),
    AfterValidator(_path_segment),
]
_OptionalNumber = Annotated[float | None, BeforeValidator(number_or_none)]
_OptionalText = Annotated[str | None, BeforeValidator(_text_or_none)]
_Secret = Annotated[SecretStr, Field(min_length=1), AfterValidator(_whole_secret)]


class _Data(BaseModel):
    """The ``data`` of an envelope."""

    model_config = ConfigDict(
        extra="ignore", frozen=True, coerce_numbers_to_str=True, hide_input_in_errors=True
    )


class _TokenData(_Data):
    token: _Secret
    expires_in: _OptionalNumber = None


class _SessionData(_Data):
    task_id: _Identifier
    session_id: _Identifier
    bind_id: _OptionalText = None


class _ClaimData(_Data):
    claim_token: _Secret


class _Project(_Data):
    draft: Any = None
    generated_media: Any = None
    video_infos: Any = None
    bind_id: _OptionalText = None


class _StateData(_Data):
    state: _Project | None
    bind_id: _OptionalText = None


class _BalanceData(_Data):
    available: FiniteFloat
    frozen: _OptionalNumber = None
    total: _OptionalNumber = None


_D = TypeVar("_D", bound=_Data)


def _parse(call: Call, model: type[_D], found: Mapping[str, Any]) -> _D:
    data = found.get("data")
    if not isinstance(data, dict):
        raise BadAnswer(call, "the response has no data")
    try:
        return model.model_validate(data)
    except ValidationError as exc:
        problems = "; ".join(
            f"data.{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
            for problem in exc.errors(include_input=False, include_url=False)
        )
    # Raised outside the block, so that its context does not hold pydantic's error with the input.
    raise BadAnswer(call, problems)


def read_token(found: Mapping[str, Any]) -> TokenGrant:
    """Read the response to a token call."""
    data = _parse(Call.TOKEN, _TokenData, found)
    return TokenGrant(data.token, data.expires_in)


def read_session(found: Mapping[str, Any]) -> Session:
    """Read the response to a session call."""
    data = _parse(Call.SESSION, _SessionData, found)
    return Session(data.task_id, data.session_id, data.bind_id)


def read_claim(found: Mapping[str, Any]) -> SecretStr:
    """Read the claim token."""
    return _parse(Call.CLAIM, _ClaimData, found).claim_token


def read_state(found: Mapping[str, Any]) -> SessionState:
    """Read a session's state. It is null until something was done in the session."""
    data = _parse(Call.STATE, _StateData, found)
    project = data.state or _Project()
    draft = Draft.read(project.draft)
    return SessionState(draft, _fingerprint(project), data.bind_id or project.bind_id)


def read_balance(found: Mapping[str, Any]) -> Balance:
    """Read the credits. A missing ``frozen`` counts as 0."""
    data = _parse(Call.CREDITS, _BalanceData, found)
    frozen = data.frozen or 0.0
    total = data.available + frozen if data.total is None else data.total
    return Balance(data.available, frozen, total)


def read_render(call: Call, found: Mapping[str, Any]) -> RenderStatus:
    """Read a render's status, at top level or in ``data`` (docs/video-api.md, "Every call").

    Raises:
        BadAnswer: Neither place has a documented status.
    """
    data = found.get("data")
    places = [found, data] if isinstance(data, dict) else [found]
    named = [str(place["status"]).lower() for place in places if place.get("status") is not None]
    known = [status for status in named if status in set(RenderState)]
    if not known:
        raise BadAnswer(call, f"status: {', '.join(named) or 'missing'}")
    url = next(filter(None, map(_output_url, places)), None)
    message = sanitize(next(filter(None, map(message_of, reversed(places))), ""))
    return RenderStatus(RenderState(known[0]), url, message or None)


def _output_url(place: Mapping[str, Any]) -> str | None:
    output = place.get("output")
    url = output.get("url") if isinstance(output, dict) else output
    return whole_characters(url).strip() or None if isinstance(url, str) else None


def _fingerprint(project: _Project) -> str:
    """Hash what an edit can change. A missing field, null and an empty value hash the same."""
    parts = (project.draft, project.generated_media, project.video_infos)
    canonical = json.dumps([part or None for part in parts], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
