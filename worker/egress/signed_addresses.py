"""When a signed address of an object store or a content delivery network expires.

Sources: the documentation of signed addresses of Amazon S3 (versions 4 and 2), Google Cloud
Storage, Azure ("Create a service SAS"), Amazon CloudFront and Alibaba Cloud OSS.
"""

from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import parse_qsl, urlsplit

_STAMP: Final = "%Y%m%dT%H%M%SZ"
_SIGNATURES: Final = ("signature", "x-amz-signature", "x-goog-signature", "sig")


def expiry(url: str) -> datetime | None:
    """Return when a signed address expires; None if its query does not contain that."""
    try:
        query = {name.lower(): value for name, value in parse_qsl(urlsplit(url).query)}
        if not any(name in query for name in _SIGNATURES):
            return None
        for vendor in ("x-amz", "x-goog"):
            if f"{vendor}-expires" in query:
                signed = datetime.strptime(query[f"{vendor}-date"], _STAMP).replace(tzinfo=UTC)
                return signed + timedelta(seconds=int(query[f"{vendor}-expires"]))
        if "se" in query:
            end = datetime.fromisoformat(query["se"])
            return end if end.tzinfo else end.replace(tzinfo=UTC)
        return datetime.fromtimestamp(int(query["expires"]), UTC)
    except (ValueError, KeyError, OverflowError, OSError):
        return None
