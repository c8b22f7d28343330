"""Parses Celery messages from a Redis list. Pure: bytes in, a message or an error out.

Source: the Celery documentation, "Message Protocol", versions 1 and 2, and kombu's envelope.
"""

import base64
import bz2
import json
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

MAX_ID_CHARACTERS: Final = 255
MAX_BODY_BYTES: Final = 16 * 2**20
"""The largest body that is unpacked. A payload takes a few kilobytes."""

_COMPRESSIONS: Final[Mapping[str, Callable[[], Any]]] = {
    "application/x-gzip": zlib.decompressobj,
    "gzip": zlib.decompressobj,
    "zlib": zlib.decompressobj,
    "application/x-bz2": bz2.BZ2Decompressor,
    "bzip2": bz2.BZ2Decompressor,
}
"""The decompressors by the names that kombu's senders give; its "gzip" has the format of zlib."""

_TASK_NAME: Final = re.compile(r"[\w.:-]{1,200}", re.ASCII)


class MalformedMessageError(ValueError):
    """A message that is not a Celery task in JSON. The text never quotes the message."""


@dataclass(frozen=True, slots=True)
class TaskMessage:
    """One task as its sender described it.

    Attributes:
        task: The name of the task.
        id: The id of the task.
        args: Its arguments.
        kwargs: Its keyword arguments.
        request: What else Celery's tracer needs, such as callbacks and the group.
        eta: When it should run; None for immediately.
        expires: The time after which it must not run; None if it does not expire.
    """

    task: str
    id: str
    args: list[Any]
    kwargs: dict[str, Any]
    request: Mapping[str, Any]
    eta: datetime | None
    expires: datetime | None


def read_message(raw: bytes) -> TaskMessage:
    """Read a message.

    Raises:
        MalformedMessageError: It is not a Celery task in JSON.
    """
    envelope = _object(_json(raw, "the message"), "the message")
    headers = _object(envelope.get("headers") or {}, "its headers")
    body = _body(envelope, headers)
    if "task" in headers:
        return _version_2(headers, body)
    return _version_1(_object(body, "its body"))


def _version_2(headers: Mapping[str, Any], body: object) -> TaskMessage:
    if not isinstance(body, list) or len(body) != len(("args", "kwargs", "embed")):
        raise MalformedMessageError("its body is not a list of args, kwargs and options")
    args, kwargs, embed = body
    options = {**_object(embed or {}, "its options"), **headers}
    return _message(headers, args, kwargs, _request(options))


def _version_1(body: Mapping[str, Any]) -> TaskMessage:
    return _message(body, body.get("args") or [], body.get("kwargs") or {}, {})


def _message(
    fields: Mapping[str, Any], args: object, kwargs: object, request: Mapping[str, Any]
) -> TaskMessage:
    task, task_id = fields.get("task"), fields.get("id")
    if not isinstance(task, str) or not _TASK_NAME.fullmatch(task):
        raise MalformedMessageError("it does not name a task")
    # The id becomes a key, and is written to logs: one line of printable text.
    if not isinstance(task_id, str) or not task_id.isprintable():
        raise MalformedMessageError("it has no task id")
    if not 0 < len(task_id) <= MAX_ID_CHARACTERS:
        raise MalformedMessageError(
            f"its task id does not have 1 to {MAX_ID_CHARACTERS} characters"
        )
    if not isinstance(args, list):
        raise MalformedMessageError("its arguments are not a list")
    return TaskMessage(
        task=task,
        id=task_id,
        args=args,
        kwargs=_object(kwargs, "its keyword arguments"),
        request={**request, "id": task_id, "task": task},
        eta=_time(fields.get("eta"), "eta"),
        expires=_time(fields.get("expires"), "expires"),
    )


def _request(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options for Celery's tracer, which does not check their types itself."""
    request: dict[str, Any] = {}
    for name, is_valid in _REQUEST_OPTIONS.items():
        value = options.get(name)
        if value is None:
            continue
        if not is_valid(value):
            raise MalformedMessageError(f"its {name} has a wrong type")
        request[name] = value
    return request


def _is_signature(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("task"), str)
        and isinstance(value.get("args") or [], list)
        and isinstance(value.get("kwargs") or {}, dict)
        and isinstance(value.get("options") or {}, dict)
    )


def _are_signatures(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_signature, value))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_whole_number(value: object) -> bool:
    return type(value) is int


_REQUEST_OPTIONS: Final[Mapping[str, Callable[[object], bool]]] = {
    "callbacks": _are_signatures,
    "errbacks": _are_signatures,
    "chain": _are_signatures,
    "chord": _is_signature,
    "group": _is_text,
    "group_index": _is_whole_number,
    "root_id": _is_text,
    "parent_id": _is_text,
    "retries": _is_whole_number,
    "ignore_result": lambda value: isinstance(value, bool),
}


def _body(envelope: Mapping[str, Any], headers: Mapping[str, Any]) -> object:
    body = envelope.get("body")
    if not isinstance(body, str):
        raise MalformedMessageError("it has no body")
    properties = _object(envelope.get("properties") or {}, "its properties")
    content_type = str(envelope.get("content-type") or "application/json")
    if content_type != "application/json":
        raise MalformedMessageError("its content type is not application/json")
    data = body.encode("utf-8", "surrogatepass")
    if properties.get("body_encoding") == "base64":
        try:
            data = base64.b64decode(data, validate=True)
        except ValueError:
            raise MalformedMessageError("its body is not base64") from None
    return _json(_unpacked(data, headers.get("compression")), "its body")


def _unpacked(data: bytes, compression: object) -> bytes:
    if compression is None:
        return data
    make = _COMPRESSIONS.get(compression) if isinstance(compression, str) else None
    if make is None:
        raise MalformedMessageError("its compression is not known")
    try:
        unpacked: bytes = make().decompress(data, MAX_BODY_BYTES + 1)
    except (zlib.error, OSError, EOFError, ValueError):
        raise MalformedMessageError("its body cannot be unpacked") from None
    if len(unpacked) > MAX_BODY_BYTES:
        raise MalformedMessageError("its body is too large when unpacked")
    return unpacked


def _json(data: bytes, what: str) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise MalformedMessageError(f"{what} is not JSON") from None


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedMessageError(f"{what} is not an object")
    return value


def _time(value: object, what: str) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise MalformedMessageError(f"its {what} is not a date") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
