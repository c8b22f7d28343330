"""Web addresses in payloads: of images, and of webhooks."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from config.settings import Settings
from config.store_address import StoreAddress
from worker.egress.address_rules import allowed_hosts, is_private_url
from worker.shown_text import is_showable

_MALFORMED: Final = "must be an address such as https://example.org/…"
_MAX_PORT: Final = 2**16


def is_url(name: str) -> bool:
    """Return whether a name is a web address, and not a path."""
    return name.lower().startswith(("https://", "http://"))


def private_hosts_of(settings: Settings) -> frozenset[str]:
    """Return the private hosts from which workers with these settings fetch files."""
    return allowed_hosts((*settings.egress.private_hosts, settings.api.url))


def private_addresses(names: Iterable[str], allowed: frozenset[str]) -> list[str]:
    """Return the addresses that a worker does not fetch, unless its settings differ from these.

    Args:
        names: Images and attachments, as a job names them.
        allowed: The private hosts from which files are fetched (`private_hosts_of`).
    """
    return [name for name in names if is_url(name) and is_private_url(name, allowed)]


def check_url(text: str) -> str:
    """Check a web address, and return it unchanged.

    Raises:
        ValueError: Its scheme is not http or https, or it has no host.
    """
    if not is_url(text) or not urlsplit(text).hostname:
        raise ValueError(_MALFORMED)
    return text


def check_file_address(text: str) -> str:
    """Check the address of a file in a store, and return it unchanged.

    Raises:
        ValueError: It names no file.
    """
    if not StoreAddress.parse(text).path or text.endswith("/"):
        raise ValueError("must name a file in the store, as in s3://bucket/folder/mug.jpg")
    return text


def check_webhook_url(text: str) -> str:
    """Check that webhooks can be sent to an address, and return it unchanged.

    Raises:
        ValueError: The HTTP client cannot send to it, or it contains a password.
    """
    import httpx  # noqa: PLC0415 - most programs check no webhook, and it is slow to import

    try:
        url = httpx.URL(check_url(text))
        valid = url.scheme in {"http", "https"} and bool(url.host) and (url.port or 1) < _MAX_PORT
    except (httpx.InvalidURL, ValueError):
        valid = False
    if not valid or not is_showable(text) or " " in text:
        raise ValueError(_MALFORMED)
    if url.userinfo:
        raise ValueError("must not contain a user name or a password: messages are signed instead")
    return text
