"""Types of the settings. The error for an invalid value says what is expected, not the value."""

import base64
import re
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from config.redis_address import parse_redis_address
from config.store_address import StoreAddress, is_store_address

MIN_WEBHOOK_KEY_BYTES: Final = 24
MAX_WEBHOOK_KEY_BYTES: Final = 64
"""Bounds of the signing key's size, from the Standard Webhooks specification."""
MAX_SECONDS: Final = 1e9
MAX_DAYS: Final = 1e6

_HEADER_VALUE: Final = re.compile(r"[!-~]+")
_QUEUE: Final = re.compile(r"[!-~]{1,100}")
_SCHEME: Final = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<rest>.+)", re.IGNORECASE)
_HOST: Final = re.compile(
    r"(\[[0-9A-Fa-f:.]+\]|[^\s/@:\[\]]+)(:\d{1,5})?|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+"
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def _split_at_commas(value: object) -> object:
    """Split ``"a, b"`` into ``["a", "b"]``; return anything but a string unchanged."""
    if isinstance(value, str):
        return [word.strip() for word in value.split(",") if word.strip()]
    return value


def _empty_to_none(value: object) -> object:
    return None if value == "" else value


def _http_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or re.search(r"\s", value):
        raise ValueError("must start with http:// or https://, and name a host")
    return value.rstrip("/")


def _header_value(value: str) -> str:
    if not _HEADER_VALUE.fullmatch(value):
        raise ValueError("must be printable ASCII without spaces: it is sent in a header")
    return value


def _token(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not (text.isascii() and text.isprintable()):
        raise ValueError("must be printable ASCII: it is sent in a header")
    return value


def _redis_url(value: SecretStr) -> SecretStr:
    parse_redis_address(value.get_secret_value())
    return value


def _queue(value: str) -> str:
    if value == "celery":
        raise ValueError("must not be celery, which the workers of other services read")
    if not _QUEUE.fullmatch(value):
        raise ValueError("must be 1 to 100 characters of printable ASCII without spaces")
    return value


def _store_url(value: str) -> str:
    """Accept a path, or a URL with a scheme that fsspec supports."""
    if not value.strip() or _CONTROL.search(value):
        raise ValueError("must be a folder, or a URL such as s3://bucket/folder")
    if "://" not in value:
        return value
    if value.startswith("file:///"):
        return value
    found = _SCHEME.fullmatch(value.rpartition("::")[2])
    # Slow to import, and not needed for a folder.
    from fsspec import available_protocols  # noqa: PLC0415

    if found is None or found["scheme"].lower() not in available_protocols():
        raise ValueError("must be a folder, or a URL such as file:///folder or s3://bucket/folder")
    return value


def _media_root(value: object) -> Path | StoreAddress:
    text = str(value)
    try:
        if is_store_address(text):
            return StoreAddress.parse(text)
    except ValueError as error:
        raise ValueError(f"an address in it {error}") from None
    if _CONTROL.search(text) or ":/" in text or "::" in text:
        raise ValueError(
            "must be paths of folders, or addresses such as s3://bucket/folder, comma-separated"
        )
    return Path(text)


def _host(value: str) -> str:
    if not _HOST.fullmatch(value):
        raise ValueError("must be a host name or an address, without http:// and without a path")
    return value


def _sentry_dsn(value: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(value.get_secret_value())
        project = parts.path.rpartition("/")[2]
        is_dsn = (
            parts.scheme in ("http", "https")
            and bool(parts.username and parts.hostname)
            and project.isdecimal()
            and parts.port != 0
        )
    except ValueError:
        is_dsn = False
    if not is_dsn:
        raise ValueError("must be of the form https://KEY@HOST/PROJECT, as Sentry shows it")
    return value


def _webhook_secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    try:
        size = len(base64.b64decode(text.removeprefix("whsec_"), validate=True))
    except ValueError:
        size = 0
    size_is_right = MIN_WEBHOOK_KEY_BYTES <= size <= MAX_WEBHOOK_KEY_BYTES
    if not (text.startswith("whsec_") and size_is_right):
        raise ValueError("must be whsec_ and the base64 of 24 to 64 bytes")
    return value


CommaSeparated = BeforeValidator(_split_at_commas)
NoneIfEmpty = BeforeValidator(_empty_to_none)
Seconds = Annotated[float, Field(gt=0, le=MAX_SECONDS, allow_inf_nan=False)]
Days = Annotated[float, Field(gt=0, le=MAX_DAYS, allow_inf_nan=False)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
HeaderValue = Annotated[str, AfterValidator(_header_value)]
Token = Annotated[SecretStr, AfterValidator(_token)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
QueueName = Annotated[str, AfterValidator(_queue)]
StoreUrl = Annotated[str, AfterValidator(_store_url)]
MediaRoot = Annotated[Path | StoreAddress, BeforeValidator(_media_root)]
Host = Annotated[str, AfterValidator(_host)]
SentryDsn = Annotated[SecretStr, AfterValidator(_sentry_dsn)]
WebhookSecret = Annotated[SecretStr, AfterValidator(_webhook_secret)]
