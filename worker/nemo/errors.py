"""Errors of calls to the video API, one class for each documented code.

Each error says what happened (its class, ``status``, ``code``), whether the same call may be sent
again (``repeatable``), and whether it may have cost credits (``maybe_charged``). The first line of
a class's docstring is its message for people when the API sent none.

Only a message costs credits, so ``maybe_charged`` is false for every other call, and an error that
may have been charged is never repeatable (docs/video-api.md, "The message stream" and "Codes").
"""

import re
from enum import StrEnum
from typing import ClassVar

from worker.nemo.surrogates import whole_characters

MAX_MESSAGE = 300
"""The longest message that an error keeps, in characters."""

_TOKEN = re.compile(r"(?:nmv_usr_|clm_)\S+", re.IGNORECASE)

_REJECTED_BEFORE_WORK = frozenset({400, 403, 405, 406, 413, 414, 415, 422})
"""HTTP statuses that depend on the request alone, so that no work has begun."""


class Call(StrEnum):
    """The calls of the video API. Source: docs/video-api.md, "Calls"."""

    TOKEN = "token"  # noqa: S105 -- the name of a call, not a secret
    SESSION = "session"
    CLAIM = "claim"
    UPLOAD = "upload"
    MESSAGE = "message"
    STATE = "state"
    CREDITS = "credits"
    EXPORT = "export"
    POLL = "poll"
    DOWNLOAD = "download"


def redact(text: str) -> str:
    """Return a text of the API without access and claim tokens, as valid Unicode.

    Source: docs/video-api.md, "Every call".
    """
    return _TOKEN.sub("[token]", whole_characters(text))


def sanitize(text: str) -> str:
    """Return a text of the API for an error: one line without tokens, cut to ``MAX_MESSAGE``."""
    # Redacted before it is cut: half a token would not be recognized.
    line = " ".join(redact(text).split())
    return line if len(line) <= MAX_MESSAGE else line[: MAX_MESSAGE - 1] + "…"


class NemoError(Exception):
    """A call of the video API failed.

    Attributes:
        call: The call that failed.
        message: What the API said, sanitized, or the default message of the class.
        status: HTTP status of the response, if there was one.
        code: ``code`` of the envelope, if there was one.
    """

    _not_started: ClassVar[bool] = False
    """Whether the API did no work for the call, so that even a message may be sent again."""
    _outcome_is_unknown: ClassVar[bool] = False
    """Whether the API may have carried out the call."""

    def __init__(
        self,
        call: Call,
        message: str = "",
        *,
        status: int | None = None,
        code: int | None = None,
    ) -> None:
        self.call = call
        self.message = sanitize(message) or self.default_message
        self.status = status
        self.code = code
        super().__init__(call, self.message)

    @property
    def default_message(self) -> str:
        """The message for people when the API sent none."""
        return (type(self).__doc__ or type(self).__name__).splitlines()[0]

    @property
    def repeatable(self) -> bool:
        """Whether the same call may be sent again.

        A message whose outcome is unknown may not: it would be paid and carried out twice.
        """
        return self._not_started or (self._outcome_is_unknown and self.call is not Call.MESSAGE)

    @property
    def maybe_charged(self) -> bool:
        """Whether the call may have cost credits although it failed."""
        return self._outcome_is_unknown and self.call is Call.MESSAGE

    def __str__(self) -> str:
        """Show the call, the message and the numbers of the response."""
        numbers = [
            f"{name} {value}"
            for name, value in (("HTTP", self.status), ("code", self.code))
            if value is not None
        ]
        return f"{self.call}: {self.message}" + (f" ({', '.join(numbers)})" if numbers else "")


class Unreachable(NemoError):  # noqa: N818 -- named for what happened
    """The video API could not be reached; no request was sent."""

    _not_started = True


class NoAnswer(NemoError):  # noqa: N818 -- named for what happened
    """The video API did not send a complete response; the call may have been carried out."""

    _outcome_is_unknown = True


class BadAnswer(NemoError):  # noqa: N818 -- named for what happened
    """The video API sent a response that cannot be read."""

    _outcome_is_unknown = True


class Refusal(NemoError):  # noqa: N818 -- named for what happened
    """The video API refused the call."""


class TokenRefused(Refusal):
    """The access token has expired or is not valid."""


class SessionNotFound(Refusal):
    """The session does not exist, or belongs to another token."""


class OutOfCredits(Refusal):
    """The account does not have enough credits."""


class FileTypeRefused(Refusal):
    """The file type is not accepted."""


class FileTooLarge(Refusal):
    """The file is too large."""


class ClientIdMissing(Refusal):
    """The request for a token has no valid client id."""


class PlanRefused(Refusal):
    """The account's plan does not allow this."""


class RateLimited(Refusal):
    """The video API received too many requests, and requires a pause.

    Attributes:
        retry_after: The requested pause in seconds, if the API named one.
    """

    _not_started = True
    retry_after: float | None = None


class ServerFailed(Refusal):
    """The video API had an internal error."""

    _outcome_is_unknown = True


class OtherRefusal(Refusal):
    """The video API refused the call for an undocumented reason."""

    @property
    def maybe_charged(self) -> bool:
        """True for a message, unless HTTP says that the request itself was rejected.

        The meaning of an undocumented code is unknown, and a timeout or a conflict (408, 409, 425,
        499) may concern a message that runs, so these count as charged.
        """
        rejected = any(number in _REJECTED_BEFORE_WORK for number in (self.status, self.code))
        return self.call is Call.MESSAGE and not rejected
