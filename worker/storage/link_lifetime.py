"""How long signed links to the objects of a bucket can open: no longer than their credentials."""

import os
import time
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

UNKNOWN_LIFETIME: Final = 3600.0
"""Seconds for which links are made whose credentials may end at any time: temporary ones of AWS
live an hour or longer."""
_S3: Final = frozenset({"s3", "s3a"})


def link_lifetime(url: str) -> float | None:
    """Return for how many seconds links can open at most; None if that is as long as asked.

    Only the access key of a user has no end. The end of temporary credentials is known where
    ``AWS_CREDENTIAL_EXPIRATION`` names it.

    Args:
        url: The bucket.
    """
    if urlsplit(url).scheme not in _S3:
        return None
    if os.environ.get("AWS_ACCESS_KEY_ID") and not os.environ.get("AWS_SESSION_TOKEN"):
        return None
    try:
        end = datetime.fromisoformat(os.environ.get("AWS_CREDENTIAL_EXPIRATION", ""))
    except ValueError:
        return UNKNOWN_LIFETIME
    end = end if end.tzinfo else end.replace(tzinfo=UTC)
    return max(0.0, end.timestamp() - time.time())
