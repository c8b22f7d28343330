"""What goes in and what comes out: the image job, its result and its batch, as JSON has them.

Source: the public surface, «JSON» and «CSV and JSONL rows».
"""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid4, uuid5

import httpx
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    ValidationError,
    model_validator,
)

from worker.ledger.model.states import Reason, State

DEFAULT_PROMPT: Final = "extend this image into a 10-second video with smooth motion"
MEDIA_KEY: Final = r"^[0-9a-f]{2}/[0-9a-f]{64}\.[a-z0-9]{1,5}$"
"""The form of a key in our media store: content by its SHA-256."""

MAX_PORT: Final = 2**16

_in_order: Final = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, separators=(",", ":")
).encode

Priority = Literal["high", "normal", "low"]
Aspect = Literal["16:9", "9:16", "1:1"]
Scalar = str | int | float | bool | None
Column = Annotated[str, Field(min_length=1, max_length=100)]


class InvalidPayloadError(ValueError):
    """A payload that is refused. The text lists every error by its field."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def is_url(image: str) -> bool:
    """Whether an image is named by its web address, not by a path."""
    return image.lower().startswith(("https://", "http://"))


def is_media_key(name: str) -> bool:
    """Whether a name is a key of a content in our media store."""
    return re.fullmatch(MEDIA_KEY, name) is not None


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must not hold control characters")
    return text


def _path_or_url(text: str) -> str:
    if not is_url(text) and "://" in text:
        raise ValueError("must be a path or an https:// address")
    return _web_address(text) if is_url(text) else text


def _web_address(text: str) -> str:
    if not is_url(text) or not urlsplit(text).hostname:
        raise ValueError("must be an address such as https://example.org/…")
    return text


def _callable(text: str) -> str:
    """An address that a webhook can be sent to, as the library reads it that will send it."""
    try:
        url = httpx.URL(_printable(_web_address(text)))
        good = url.scheme in {"http", "https"} and bool(url.host) and (url.port or 1) < MAX_PORT
    except (httpx.InvalidURL, ValueError):
        good = False
    if not good or " " in text:
        raise ValueError("must be an address such as https://example.org/…")
    if url.userinfo:
        raise ValueError("must not hold a name or a password: messages are signed instead")
    return text


def _says_something(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    if "\0" in text:
        raise ValueError("must not hold a NUL")
    return text


Name = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_printable)]
MediaKey = Annotated[str, Field(pattern=MEDIA_KEY)]
Source = Annotated[Name, AfterValidator(_path_or_url)]


class ImageJob(BaseModel):
    """The payload of one job: an image, and what is to become of it.

    Attributes:
        version: Version of this schema.
        image: The image as given: a path, or an ``https://`` address.
        media: Key of the image in our media store; ``image`` is then only its name.
        prompt: What is asked of the agent.
        aspect: Shape of the clip; None leaves it to the agent.
        seconds: Length of the clip; None leaves it to the prompt.
        language: Language of the session.
        priority: How soon it comes to its turn.
        attach: Music, logo or further clips: paths, or keys in our media store.
        attach_names: What attached contents of our media store were called.
        pass_url: Hand the image's address to the video API instead of fetching it here.
        webhook: Address that is told of the job's end, or hold.
        key: Idempotency key: the same key is the same job.
        data: Anything of the caller's; it comes back in the result.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False
    )

    version: Literal[1] = 1
    image: Source
    media: Annotated[str, Field(pattern=MEDIA_KEY)] | None = None
    prompt: Annotated[str, Field(max_length=10_000), AfterValidator(_says_something)] = (
        DEFAULT_PROMPT
    )
    aspect: Aspect | None = None
    seconds: Annotated[float, Field(ge=1, le=60)] | None = None
    language: Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$")] = "en"
    priority: Priority = "normal"
    attach: Annotated[tuple[Source, ...], Field(max_length=20)] = ()
    attach_names: Annotated[dict[MediaKey, Name], Field(max_length=20)] = {}
    pass_url: bool = False
    webhook: Annotated[str, Field(max_length=2048), AfterValidator(_callable)] | None = None
    key: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)] | None = (
        None
    )
    data: Annotated[dict[Column, Scalar], Field(max_length=100)] = {}

    @model_validator(mode="after")
    def _passes_only_urls(self) -> Self:
        if self.pass_url and (self.media or not is_url(self.image)):
            raise ValueError("pass_url: only with an image that is named by its https:// address")
        return self

    @classmethod
    def read(cls, payload: object) -> "ImageJob":
        """Validate a payload from outside.

        Raises:
            InvalidPayloadError: It is refused; the text lists every error by its field.
        """
        try:
            return cls.model_validate(payload)
        except ValidationError as error:
            problems = _problems(error)
        raise InvalidPayloadError(problems)

    @property
    def fingerprint(self) -> str:
        """What tells whether a known key means the same job: what is asked for, hashed.

        Neither the key nor who is told counts: rows that are submitted again with a webhook are
        the same jobs, and are not paid again.

        Defaults are left out, so that a field which a later version adds changes no fingerprint.
        """
        wanted = self.model_dump(mode="json", exclude={"key", "webhook"}, exclude_defaults=True)
        return hashlib.sha256(_in_order(wanted).encode()).hexdigest()

    @property
    def job_id(self) -> str:
        """The id of its job; without a key another one at each reading."""
        return job_id_for(self.key)


def job_id_for(key: str | None) -> str:
    """The id of a job: a function of its key, or a new one."""
    return str(uuid5(NAMESPACE_URL, f"reelqueue:job:{key}") if key else uuid4())


def webhook_address(text: str) -> str:
    """An address for webhooks that came from elsewhere than a payload.

    Raises:
        InvalidPayloadError: It is refused.
    """
    try:
        return _callable(text)
    except ValueError as error:
        raise InvalidPayloadError([f"webhook: {error}"]) from None


def content_suffix(name: str) -> str:
    """The ending that a file's content keeps in our media store, with its dot."""
    suffix = Path(name).suffix.lower()
    return suffix if re.fullmatch(r"\.[a-z0-9]{1,5}", suffix) else ".bin"


def media_key(sha256: str, name: str) -> str:
    """The key in our media store of a content, by its digest and the name of its file."""
    return f"{sha256[:2]}/{sha256}{content_suffix(name)}"


def _problems(error: ValidationError) -> list[str]:
    return [
        ": ".join(
            filter(None, [".".join(map(str, found["loc"])), _plain(found["type"], found["msg"])])
        )
        for found in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _plain(kind: str, message: str) -> str:
    if kind == "string_unicode":
        return "is not UTF-8 text"
    return message.removeprefix("Value error, ")


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ReasonDetail(_Record):
    """Why a job is held or failed, and what to do about it."""

    code: Reason
    message: str
    remedy: str


class QualityFinding(_Record):
    """Something about a clip that somebody should look at: a code and a sentence."""

    code: str
    message: str


class Quality(_Record):
    """What a look into a finished clip found; ``ok`` when it found nothing to mark."""

    ok: bool
    findings: tuple[QualityFinding, ...]


class Video(_Record):
    """The finished clip, as read from the file itself. Bytes, pixels, seconds."""

    url: str
    source_url: str | None
    path: str | None
    bytes: NonNegativeInt
    sha256: str
    width: NonNegativeInt
    height: NonNegativeInt
    seconds: NonNegativeFloat
    codec: str
    poster: str | None
    quality: Quality | None


class Session(_Record):
    """The project at the video API. The claim link opens it in a browser."""

    session_id: str | None
    task_id: str | None
    claim_url: str | None


class Progress(_Record):
    """Where a job stands: its state, a sentence for people, and since when it is there."""

    stage: State
    message: str
    since: datetime


class Decision(_Record):
    """What a person decided about a message of unknown outcome, who and when."""

    choice: Literal["pay_again", "as_done"]
    by: str
    at: datetime


class Result(_Record):
    """The record of one job. Times are UTC, durations are seconds.

    ``row`` is its place in its batch's manifest; ``webhook_error`` says why a message of its end
    was given up, after a day.
    ``credits_spent`` is what its messages cost, ``credits_estimated`` says whether that is the
    estimate of a clip's price instead of a charge that was read.
    """

    job_id: str
    batch_id: str | None
    parent_id: str | None
    row: NonNegativeInt | None
    state: State
    reason: ReasonDetail | None
    image: str
    prompt: str
    priority: Priority
    video: Video | None
    reply: str | None
    timeline: str | None
    session: Session
    render_id: str | None
    paid_messages: NonNegativeInt
    credits_spent: NonNegativeFloat
    credits_estimated: bool
    progress: Progress
    attempts: NonNegativeInt
    cancel_requested: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    seconds_in: Mapping[State, NonNegativeFloat]
    decisions: tuple[Decision, ...]
    changes: tuple[str, ...]
    data: Mapping[str, Any]
    webhook_error: str | None = None

    @property
    def ended_or_held(self) -> bool:
        """Whether it is at an end, or held until somebody decides."""
        return self.state.is_end or self.state is State.HELD


class Batch(_Record):
    """The record of one batch: open = queued + running; total = open and all the rest.

    ``credits_spent`` and ``credits_reserved`` add up to the estimated price of all messages that
    the batch has sent; the share of those that are under way counts as reserved. ``blocked_by``
    is the job over whose unknown outcome the rows of a shared session wait.
    """

    batch_id: str
    name: str
    sealed: bool
    paused: bool
    blocked_by: str | None = None
    total: NonNegativeInt
    open: NonNegativeInt
    queued: NonNegativeInt
    running: NonNegativeInt
    held: NonNegativeInt
    succeeded: NonNegativeInt
    failed: NonNegativeInt
    cancelled: NonNegativeInt
    held_by: Mapping[Reason, NonNegativeInt]
    credits_spent: NonNegativeFloat
    credits_reserved: NonNegativeFloat
    eta_seconds: NonNegativeFloat | None
    webhook_error: str | None = None
