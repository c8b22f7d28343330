"""The image job: the payload that a job is submitted with.

Source: docs/usage.md, "Submit a batch". It is public: `reelqueue schema` prints its JSON Schema.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self
from uuid import NAMESPACE_URL, uuid4

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import to_json

from config.store_address import is_store_address
from tasks.schema.addresses import check_file_address, check_url, check_webhook_url, is_url
from tasks.schema.errors import InvalidPayloadError
from tasks.schema.media_keys import MEDIA_KEY
from worker.shown_text import is_showable

DEFAULT_PROMPT: Final = "extend this image into a 10-second video with smooth motion"
DEFAULT_PROMPT_WITHOUT_LENGTH: Final = "extend this image into a video with smooth motion"

_NAMESPACE: Final = NAMESPACE_URL.bytes
_any_canonical_json: Final = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, separators=(",", ":")
).encode


def _printable(text: str) -> str:
    if not is_showable(text):
        raise ValueError("must not contain characters that control, reorder or hide text")
    return text


def _path_or_url(text: str) -> str:
    if is_url(text):
        return check_url(text)
    if is_store_address(text):
        return check_file_address(text)
    if "://" in text:
        raise ValueError("must be a path, an https:// address, or a file in a store (s3://…)")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    if "\0" in text:
        raise ValueError("must not contain a NUL character")
    return text


def _scalar(value: object, read: ValidatorFunctionWrapHandler) -> object:
    """Check the value of a column. A wrong one has one error, not one for each allowed type."""
    if type(value) is str and value.isascii():
        return value
    try:
        read_value = read(value)
    except ValidationError:
        raise ValueError("must be a text, a finite number, true, false or null") from None
    if isinstance(read_value, str) and not read_value.isascii():
        try:
            read_value.encode()
        except UnicodeEncodeError:
            raise ValueError("is not UTF-8 text") from None
    return read_value


Priority = Literal["high", "normal", "low"]
Aspect = Literal["16:9", "9:16", "1:1"]
Prompt = Annotated[str, Field(max_length=10_000), AfterValidator(_not_blank)]
Language = Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$")]
Name = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_printable)]
Source = Annotated[Name, AfterValidator(_path_or_url)]
MediaKey = Annotated[str, Field(pattern=MEDIA_KEY)]
WebhookUrl = Annotated[str, Field(max_length=2048), AfterValidator(check_webhook_url)]
MAX_KEY: Final = 200
"""The longest idempotency key, in characters."""
Key = Annotated[str, Field(min_length=1, max_length=MAX_KEY), AfterValidator(_printable)]
Column = Annotated[str, Field(min_length=1, max_length=100)]
Scalar = Annotated[str | int | float | bool | None, WrapValidator(_scalar)]


class ImageJob(BaseModel):
    """The payload of one job: an image, and how to make a clip from it.

    Attributes:
        version: Version of this schema.
        image: The image: a path, an ``https://`` address, or a file in a store (``s3://…``).
        media: Key of the image in the media store. ``image`` is only its name then.
        prompt: The instruction to the agent that makes the clip.
        aspect: Aspect ratio of the clip. Without one, the agent chooses.
        seconds: Length of the clip. Without one, the prompt decides.
        language: Language of the session.
        priority: Share of the workers: jobs of a higher priority start sooner.
        attach: Music, a logo or further clips: paths, addresses or keys in the media store.
        attach_names: File names of the attachments that are keys.
        pass_url: Let the video API fetch the image from its address, instead of the worker.
        webhook: Address that is notified when the job has ended or is held.
        key: Idempotency key. The same key is the same job.
        data: Any values of the caller. They are returned in the result.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False
    )

    version: Literal[1] = 1
    image: Source
    media: MediaKey | None = None
    prompt: Prompt = DEFAULT_PROMPT
    aspect: Aspect | None = None
    seconds: Annotated[float, Field(ge=1, le=60)] | None = None
    language: Language = "en"
    priority: Priority = "normal"
    attach: Annotated[tuple[Source, ...], Field(max_length=20)] = ()
    attach_names: Annotated[dict[MediaKey, Name], Field(max_length=20)] = {}
    pass_url: bool = False
    webhook: WebhookUrl | None = None
    key: Key | None = None
    data: Annotated[dict[Column, Scalar], Field(max_length=100)] = {}

    @model_validator(mode="after")
    def _check_pass_url(self) -> Self:
        if self.pass_url and (self.media or not is_url(self.image)):
            raise ValueError("pass_url: only with an image that is given by its https:// address")
        return self

    @classmethod
    def read(cls, payload: object) -> "ImageJob":
        """Validate a payload.

        Raises:
            InvalidPayloadError: It is invalid.
        """
        try:
            return cls.model_validate(payload)
        except ValidationError as error:
            raise InvalidPayloadError.from_validation(error) from None

    @property
    def fingerprint(self) -> str:
        """Hash of the request. A key can be submitted again only with the same fingerprint.

        The key and the webhook are left out, so that rows which are submitted again with a webhook
        are the same jobs. Default values are left out, so that a field which a later version adds
        does not change the fingerprint.
        """
        return fingerprint_of(self.as_payload())

    def as_payload(self) -> dict[str, Any]:
        """Return the job as JSON without null fields. This is faster than ``model_dump``."""
        payload = {name: value for name, value in vars(self).items() if value is not None}
        payload["attach"] = list(self.attach)
        return payload

    @property
    def fetched(self) -> tuple[str, ...]:
        """The files that a worker fetches by the names that the payload gives them."""
        return self.attach if self.pass_url or self.media else (self.image, *self.attach)

    @property
    def job_id(self) -> str:
        """The job's id. Without a key, it is a new one each time."""
        return job_id_for(self.key)


_NOT_IN_FINGERPRINT: Final = frozenset({"key", "webhook"})
_DEFAULTS: Final[Mapping[str, object]] = ImageJob.model_construct(image="").model_dump(
    mode="json", exclude={"image"}
)


def fingerprint_of(payload: Mapping[str, object]) -> str:
    """Return the fingerprint of a job, from its payload as JSON without null fields."""
    content = {
        name: value
        for name, value in payload.items()
        if name not in _NOT_IN_FINGERPRINT and (name not in _DEFAULTS or value != _DEFAULTS[name])
    }
    return hashlib.sha256(_canonical_json(content)).hexdigest()


def _canonical_json(content: Mapping[str, object]) -> bytes:
    """Return content as JSON, with all names sorted."""
    data = content.get("data")
    if isinstance(data, dict) and float in map(type, data.values()):
        # `to_json` is three times as fast, but writes 1e-07 as 1e-7: another fingerprint.
        return _any_canonical_json(content).encode()
    return to_json({name: _in_order(content[name]) for name in sorted(content)})


def _in_order(value: object) -> object:
    if isinstance(value, dict) and len(value) > 1:
        return {name: value[name] for name in sorted(value)}
    return value


def job_id_for(key: str | None) -> str:
    """Return the id of the job with a key, which is its UUID of version 5, or a new id."""
    if not key:
        return str(uuid4())
    # `uuid5` takes three times as long, and each row of a manifest has a key.
    name = _NAMESPACE + f"reelqueue:job:{key}".encode()
    digest = bytearray(hashlib.sha1(name, usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
