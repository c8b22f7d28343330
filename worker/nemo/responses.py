"""What the calls of the video API return."""

from dataclasses import dataclass
from enum import StrEnum

from pydantic import SecretStr

from worker.nemo.draft import Draft


@dataclass(frozen=True, slots=True)
class TokenGrant:
    """An anonymous token.

    Attributes:
        token: The access token.
        expires_in: Its lifetime in seconds, if the response names it.
    """

    token: SecretStr
    expires_in: float | None


@dataclass(frozen=True, slots=True)
class Session:
    """A session and the task it belongs to.

    Attributes:
        task_id: The task.
        session_id: The session.
        bind_id: The id that binds an anonymous account to a registered one, if there is one.
    """

    task_id: str
    session_id: str
    bind_id: str | None


@dataclass(frozen=True, slots=True)
class SessionState:
    """One reading of a session's state.

    Attributes:
        draft: The draft.
        fingerprint: A hash of everything that an edit can change.
        bind_id: As in ``Session``.
    """

    draft: Draft
    fingerprint: str
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
    """The state of a render."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RenderStatus:
    """One status response of a render.

    Attributes:
        status: Its state.
        url: The address of the clip, once completed, if the response names it.
        message: The message of the response, without tokens.
    """

    status: RenderState
    url: str | None
    message: str | None
