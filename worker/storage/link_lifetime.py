"""How long signed links to a bucket can be valid: at most until the credentials expire."""

import os
import time
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

UNKNOWN_LIFETIME: Final = 3600.0
"""The lifetime of links in seconds if it is unknown when the credentials expire. Temporary
credentials of AWS are valid for an hour or longer."""
_S3: Final = frozenset({"s3", "s3a"})


def link_lifetime(url: str) -> float | None:
    """Return the longest time in seconds for which links can be valid; None if it is not limited.

    The access key of a user does not expire. Other credentials are temporary, and expire at the
    time in ``AWS_CREDENTIAL_EXPIRATION``, if it is set.

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
