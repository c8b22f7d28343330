"""The headers that identify the caller: attribution on every call, and the access token."""

import itertools
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from worker.nemo.errors import Call, TokenRefused

SKILL_SOURCE = "ai-image-to-video-extender"


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller's identity in the attribution headers (docs/video-api.md, "Every call").

    Attributes:
        platform: Value of ``X-Skill-Platform``.
        version: Value of ``X-Skill-Version``.

    Raises:
        ValueError: A value is empty or not valid in a header.
    """

    platform: str
    version: str

    def __post_init__(self) -> None:
        """Refuse values that would otherwise fail at the first call."""
        for name, value in (("platform", self.platform), ("version", self.version)):
            if not _fits_header(value):
                raise ValueError(f"the skill's {name} must be printable ASCII, not {value!r}")

    def headers(self) -> dict[str, str]:
        """Return the attribution headers, which every call carries."""
        return {
            "X-Skill-Source": SKILL_SOURCE,
            "X-Skill-Version": self.version,
            "X-Skill-Platform": self.platform,
        }


def detect_platform(install_path: Path, configured: str | None) -> str:
    """Return the platform: as configured, else from the install path.

    Source: docs/video-api.md, "Every call".

    Args:
        install_path: Where this program is installed.
        configured: ``SKILL_SOURCE``, if it is set.
    """
    if configured and configured.strip():
        return configured.strip()
    parts = install_path.parts
    if ".clawhub" in parts:
        return "clawhub"
    if (".cursor", "skills") in itertools.pairwise(parts):
        return "cursor"
    return "unknown"


def bearer(call: Call, token: SecretStr | None) -> dict[str, str]:
    """Return the authorization header.

    Raises:
        TokenRefused: There is no token, or it is not valid in a header. Nothing was sent.
    """
    if token is None:
        raise TokenRefused(call, "no access token is set")
    secret = token.get_secret_value().strip()
    # Checked here, because the HTTP library would quote the value in its own error.
    if not _fits_header(secret):
        raise TokenRefused(call, "the access token has characters that are not valid in a header")
    return {"Authorization": f"Bearer {secret}"}


def _fits_header(value: str) -> bool:
    return bool(value) and value.isascii() and value.isprintable()
