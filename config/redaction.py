"""Secrets taken out of text by value, wherever they stand in it.

Two kinds are known: those with a form of their own (access and claim tokens, bearer headers,
passwords in URLs) and those that were configured, which may have any form.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from pydantic import SecretStr

from config.settings import Settings

REDACTED: Final = "[redacted]"

_PASSWORD: Final = rf"\1{REDACTED}@"
_FORMS: Final = (
    (re.compile(r"""nmv_usr_[^\s"'\\]+""", re.IGNORECASE), REDACTED),
    (re.compile(r"""clm_[^\s"'\\]+""", re.IGNORECASE), REDACTED),
    (re.compile(r"""\b(bearer)(\s+|%20)[^\s"'\\]+""", re.IGNORECASE), rf"\1 {REDACTED}"),
    (re.compile(r"""(://[^\s:/@"']*:)[^\s/"']*@"""), _PASSWORD),
)

_SHORTEST_PASSWORD: Final = 6

_configured: dict[str, re.Pattern[str] | None] = {"pattern": None}


def redact(text: str) -> str:
    """Return the text without access tokens, claim tokens, bearer headers and passwords in URLs.

    Settings given to `learn` are known too: their tokens and passwords are found wherever they
    stand, whatever their form.
    """
    pattern = _configured["pattern"]
    if pattern is not None:
        text = pattern.sub(REDACTED, text)
    for form, replacement in _FORMS:
        text = form.sub(replacement, text)
    return text


def redact_value(value: object) -> object:
    """Copy a structure with every text in it redacted; other objects become redacted text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, bytes):
        return redact(value.decode(errors="replace"))
    if isinstance(value, Mapping):
        return {
            redact(key) if isinstance(key, str) else key: redact_value(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact_value(inner) for inner in value]
    return redact(str(value))


def learn(settings: Settings) -> None:
    """Remember the configured secrets, the longest first so that none hides a part of another."""
    texts = sorted(_spellings(_secrets(settings)), key=len, reverse=True)
    _configured["pattern"] = re.compile("|".join(map(re.escape, texts))) if texts else None


def _secrets(settings: Settings) -> Iterable[str]:
    for secret in settings.api.tokens:
        yield secret.get_secret_value()
    for url in (settings.redis.url, settings.redis.broker):
        password = _password(url)
        # A shorter one would blot out ordinary words; inside its URL it is found by form.
        if len(password) >= _SHORTEST_PASSWORD:
            yield password


def _password(url: SecretStr) -> str:
    try:
        return urlsplit(url.get_secret_value()).password or ""
    except ValueError:
        return ""


def _spellings(secrets: Iterable[str]) -> set[str]:
    """Each secret as it is, as it stands in a URL, and as it was before it stood there."""
    found: set[str] = set()
    for secret in secrets:
        found |= {secret, quote(secret, safe=""), unquote(secret)}
    return found - {""}
