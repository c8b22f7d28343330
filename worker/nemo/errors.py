"""What can go wrong with a call to the video API, one class a documented code.

Every failure says three things a caller decides on: what it was (the class, ``status``,
``code``), whether the same call may be sent again (``repeatable``) and whether it may have cost
credits (``maybe_charged``). The first line of a class's docstring is its sentence for people.

The money rule (contract, "The message stream" and "Codes"): only a message costs credits, so
``maybe_charged`` is never true for another call; and a failure that may have been charged is
never repeatable.
"""

import re
from enum import StrEnum

MESSAGE_LIMIT = 300
"""The most characters of an API's own words that an error keeps."""

_TOKEN = re.compile(r"(?:nmv_usr_|clm_)\S+", re.IGNORECASE)


_TURNED_AWAY = frozenset({400, 403, 405, 406, 413, 414, 415, 422})
"""HTTP statuses that are decided by the request alone, before any work begins."""


class Call(StrEnum):
    """The calls of the contract, named for what they ask."""

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
    """Replace every access token and claim token in a text (contract, "Every call")."""
    return _TOKEN.sub("[token]", text)


def sanitize(text: str) -> str:
    """Make foreign words fit for an error: no tokens, one line, at most ``MESSAGE_LIMIT`` long."""
    # Redacted before it is cut: half a token would no longer look like one.
    line = " ".join(redact(text).split())
    return line if len(line) <= MESSAGE_LIMIT else line[: MESSAGE_LIMIT - 1] + "…"


class NemoError(Exception):
    """The video API could not do what was asked.

    Attributes:
        call: Which call failed.
        message: What the API said, without tokens and cut short; the class's own sentence if it
            said nothing.
        status: HTTP status of the answer, if there was one.
        code: ``code`` of the envelope, if there was one.
    """

    def __init__(
        self,
        call: Call,
        message: str = "",
        *,
        status: int | None = None,
        code: int | None = None,
    ) -> None:
        self.call = call
        self.message = sanitize(message) or self.sentence
        self.status = status
        self.code = code
        super().__init__(call, self.message)

    @property
    def sentence(self) -> str:
        """The sentence for people about this kind of failure."""
        return (type(self).__doc__ or type(self).__name__).splitlines()[0]

    @property
    def repeatable(self) -> bool:
        """Whether the same call may be sent again."""
        return False

    @property
    def maybe_charged(self) -> bool:
        """Whether the call may have cost credits although it failed."""
        return False

    def __str__(self) -> str:
        """Name the call, what was said about it and the numbers of the answer."""
        numbers = [
            f"{name} {value}"
            for name, value in (("HTTP", self.status), ("code", self.code))
            if value is not None
        ]
        return f"{self.call}: {self.message}" + (f" ({', '.join(numbers)})" if numbers else "")


class Unreachable(NemoError):  # noqa: N818 -- named for what happened
    """The video API could not be reached; nothing was sent."""

    @property
    def repeatable(self) -> bool:
        """Always: the API never saw the call."""
        return True


class _Unsettled(NemoError):  # noqa: N818 -- named for what happened
    """It is not known what the video API did."""

    @property
    def repeatable(self) -> bool:
        """Every call but a message, which would be paid and done twice."""
        return self.call is not Call.MESSAGE

    @property
    def maybe_charged(self) -> bool:
        """A message may have run."""
        return self.call is Call.MESSAGE


class NoAnswer(_Unsettled):
    """The video API did not answer in full; the call may have been carried out."""


class BadAnswer(_Unsettled):
    """The video API gave an answer that cannot be read."""


class Refusal(NemoError):  # noqa: N818 -- named for what happened
    """The video API answered with a refusal."""


class TokenRefused(Refusal):
    """The access token has expired or is not valid."""


class SessionNotFound(Refusal):
    """The session does not exist, or not under this token."""


class OutOfCredits(Refusal):
    """The account has not enough credits."""


class FileTypeRefused(Refusal):
    """The file type is not accepted."""


class FileTooLarge(Refusal):
    """The file is too large."""


class ClientIdMissing(Refusal):
    """The request for a token carried no usable client id."""


class PlanRefused(Refusal):
    """The account's plan does not allow this."""


class RateLimited(Refusal):
    """Too many requests; the video API asks for a pause.

    Attributes:
        retry_after: Seconds to wait as the API asked, if it named a time.
    """

    retry_after: float | None = None

    @property
    def repeatable(self) -> bool:
        """After the pause, a message too: it was turned away at the door."""
        return True


class ServerFailed(_Unsettled, Refusal):
    """The video API failed on its own side."""


class OtherRefusal(Refusal):
    """The video API refused for a reason that is not documented."""

    @property
    def maybe_charged(self) -> bool:
        """A message, unless HTTP says that the request itself was turned away.

        Nothing says what an undocumented code means, and a time-out or a conflict (408, 409,
        425, 499) may be told of a message that runs: the safer reading holds.
        """
        turned_away = any(number in _TURNED_AWAY for number in (self.status, self.code))
        return self.call is Call.MESSAGE and not turned_away
