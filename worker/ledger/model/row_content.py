"""The content of a row of a batch: a hash of what it requests, by which the row is recognized.

Source: docs/usage.md, "Correct rows". The content is the picture, the prompt as it is sent, aspect,
seconds, language, attachments and `pass_url`. The place of the file, the number of the row, its
other columns, its priority and its webhook are not part of it.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from worker.ledger.model.fields import json_text

_SIGNATURE_PREFIXES: Final = ("x-amz-", "x-goog-")
_SIGNATURE: Final = frozenset(
    {"sig", "se", "sp", "sv", "Expires", "Signature", "Policy", "Key-Pair-Id"}
)
_DEFAULTS: Final = (("language", "en"), ("pass_url", False))


def row_content(payload: Mapping[str, Any]) -> str:
    """Return the hash of what a payload requests: its picture, prompt and options.

    Defaults are left out, so that an option which a later version adds does not change it.
    """
    content: dict[str, object] = {}
    # The names are in order.
    if (aspect := payload.get("aspect")) is not None:
        content["aspect"] = aspect
    if attached := payload.get("attach"):
        content["attach"] = [_file(name) for name in attached]
    for name, default in _DEFAULTS:
        if (value := payload.get(name)) is not None and value != default:
            content[name] = value
    content["picture"] = _file(payload.get("media") or str(payload.get("image", "")))
    content["prompt"] = payload.get("prompt", "")
    if payload.get("seconds") is not None:
        content["seconds"] = float(payload["seconds"])
    return hashlib.sha256(json_text(content).encode(errors="backslashreplace")).hexdigest()


def content_key(batch_id: str, content: str) -> str:
    """Return the idempotency key of a row of a batch that has no key of its own."""
    return f"batch:{batch_id}:{content}"


def without_signature(address: str) -> str:
    """Return an address without its fragment and the parameters of a signature."""
    # A path in a store or on a disk may contain these characters.
    is_web = address.lower().startswith(("http://", "https://"))
    if not is_web or ("?" not in address and "#" not in address):
        return address
    try:
        parts = urlsplit(address)
    except ValueError:
        return address
    kept = (text for text in parts.query.split("&") if text and not _signs(text.partition("=")[0]))
    return urlunsplit(parts._replace(query="&".join(kept), fragment=""))


def _signs(parameter: str) -> bool:
    return parameter in _SIGNATURE or parameter.lower().startswith(_SIGNATURE_PREFIXES)


def _file(name: str) -> str:
    """Return what identifies a file: the digest in its media key, or else its address."""
    if "://" in name:
        return without_signature(name)
    # A media key is `<two digits>/<digest>.<suffix>`; the suffix is that of the file's name.
    return name.rpartition(".")[0] or name
