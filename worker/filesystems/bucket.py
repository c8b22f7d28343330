"""A bucket (S3, GCS, Azure), through the native library ``obstore``."""

import os
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

SCHEMES: Final = frozenset({"s3", "s3a", "gs", "az", "azure", "abfs", "abfss"})
"""The URL schemes of buckets. All of these stores have a conditional put."""
_S3: Final = frozenset({"s3", "s3a"})
_PROVIDERS: Final = {"s3": "AWS", "s3a": "AWS", "gs": "GOOGLE"}
"""The prefix of a provider's variables in the environment, by scheme. Any other scheme: AZURE."""
_FROM_ENVIRONMENT: Final = ("allow_http", "allow_invalid_certificates", "proxy_url")
"""Options that the library ignores in the environment once any option is given."""
_CONNECT_SECONDS: Final = 5
_MAX_RETRIES: Final = 3


class Bucket:
    """A bucket and a prefix in it.

    Calls of the library wait in native code, so they must be offloaded under gevent. Credentials
    are read from the environment variables of the provider, such as ``AWS_ACCESS_KEY_ID``.

    Args:
        url: The bucket and the prefix.
        request_seconds: How long one request may take, with its response.
        retry_seconds: How long after the first request of a call a retry may still start.

    Attributes:
        library: The module ``obstore``, whose functions are called with the store.
        store: The library's store.

    Raises:
        ImportError: The package ``obstore`` is not installed.
        ValueError: The library does not understand the URL or the environment.
    """

    def __init__(self, url: str, *, request_seconds: int, retry_seconds: int) -> None:
        try:
            import obstore  # noqa: PLC0415 - an optional dependency
            from obstore.store import from_url  # noqa: PLC0415
        except ImportError:
            raise ImportError("the package obstore is not installed") from None
        self.library: Any = obstore
        retries = {"max_retries": _MAX_RETRIES, "retry_timeout": timedelta(seconds=retry_seconds)}
        options: Any = {
            "client_options": _client_options(url, request_seconds),
            "retry_config": retries,
        }
        if urlsplit(url).scheme in _S3:
            # Amazon S3 cannot copy an object on a condition, but can complete a multipart upload
            # on one.
            options["copy_if_not_exists"] = os.environ.get("AWS_COPY_IF_NOT_EXISTS", "multipart")
        self.store: Any = from_url(url, **options)


def _client_options(url: str, request_seconds: int) -> dict[str, str]:
    prefix = _PROVIDERS.get(urlsplit(url).scheme, "AZURE")
    given = {name: os.environ.get(f"{prefix}_{name.upper()}") for name in _FROM_ENVIRONMENT}
    timeouts = {"connect_timeout": f"{_CONNECT_SECONDS}s", "timeout": f"{request_seconds}s"}
    return {**timeouts, **{name: value for name, value in given.items() if value}}
