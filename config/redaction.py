"""Replaces secrets in texts.

Secrets of a known form are found by their form: access and claim tokens, bearer headers, passwords
and signatures in URLs. Configured tokens and passwords are found whatever their form.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote, unquote

from config.settings import Settings

REDACTED: Final = "[redacted]"

_PATTERNS: Final = (
    (re.compile(r"""nmv_usr_[^\s"'\\]+""", re.IGNORECASE), REDACTED),
    (re.compile(r"""clm_[^\s"'\\]+""", re.IGNORECASE), REDACTED),
    (re.compile(r"""\b(bearer)(\s+|%20)[^\s"'\\]+""", re.IGNORECASE), rf"\1 {REDACTED}"),
    (re.compile(r"""(://[^\s:/@"']*:)[^\s/"']*@"""), rf"\1{REDACTED}@"),
    (
        re.compile(
            r"""([?&](?:x-(?:amz|goog)-(?:signature|security-token)|signature|sig)=)[^\s&"'\\]+""",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
)
_MIN_PASSWORD_LENGTH: Final = 6

_configured: dict[str, re.Pattern[str] | None] = {"pattern": None}


def redact(text: str) -> str:
    """Return the text with its secrets replaced.

    Configured secrets are replaced once `register_secrets` has been called.
    """
    pattern = _configured["pattern"]
    if pattern is not None:
        text = pattern.sub(REDACTED, text)
    for form, replacement in _PATTERNS:
        text = form.sub(replacement, text)
    return text


def redact_value(value: object, omit: frozenset[str] = frozenset()) -> object:
    """Copy a structure with all texts in it redacted; other objects become redacted texts.

    Args:
        value: The structure.
        omit: Keys of mappings to leave out, at every level.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes):
        return redact(value.decode(errors="replace"))
    if isinstance(value, Mapping):
        return {
            redact(key) if isinstance(key, str) else key: redact_value(inner, omit)
            for key, inner in value.items()
            if key not in omit
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact_value(inner, omit) for inner in value]
    return redact(str(value))


def register_secrets(settings: Settings) -> None:
    """Have `redact` replace the secrets in these settings too."""
    spellings = sorted(_spellings(_secrets(settings)), key=len, reverse=True)
    # The longest first, because one may contain another.
    pattern = "|".join(map(re.escape, spellings))
    _configured["pattern"] = re.compile(pattern) if spellings else None


def _secrets(settings: Settings) -> Iterable[str]:
    for token in settings.api.tokens:
        yield token.get_secret_value()
    for address in (settings.redis.address, settings.redis.broker_address):
        password = address.password.get_secret_value() if address.password else ""
        # A shorter one could be part of ordinary words. In a URL, it is found by its form.
        if len(password) >= _MIN_PASSWORD_LENGTH:
            yield password


def _spellings(secrets: Iterable[str]) -> set[str]:
    """Return each secret unchanged, URL-encoded and URL-decoded."""
    spellings = {
        spelling
        for secret in secrets
        for spelling in (secret, quote(secret, safe=""), unquote(secret))
    }
    return spellings - {""}
