"""Decodes the frames of a message's stream into events of a few kinds.

The stream carries events of an agent server, one JSON object a frame, in camelCase or, from older
servers, in snake_case (docs/video-api.md, "The message stream"). Decoding never raises: a frame
that cannot be read is skipped and counted.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from worker.nemo.envelope import DONE, envelope_code, message_of, parse_object
from worker.nemo.errors import redact, sanitize
from worker.nemo.streaming.sse import Comment, Frame
from worker.nemo.surrogates import whole_characters

MAX_HELD_CHARACTERS = 65_536
"""The most text of partial events that is held until the whole text arrives."""

_HEARTBEAT = "heartbeat"
_UNESCAPED_ERROR = re.compile(r'\s*\{\s*"error"\s*:\s*"?')


@dataclass(frozen=True, slots=True)
class Text:
    """A whole text for the user."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolActivity:
    """The agent called a tool, or a tool returned its result."""

    name: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sign that the agent is still working."""


@dataclass(frozen=True, slots=True)
class StreamError:
    """An error that the stream itself reported.

    Attributes:
        message: The message, sanitized.
        code: The code or the type of the error, if it was named.
    """

    message: str
    code: str | None = None


@dataclass(frozen=True, slots=True)
class End:
    """The end of the stream: exactly one, always last.

    Attributes:
        clean: Whether the server ended it; if not, the outcome of the message is unknown.
        failure: What broke, if it was not clean.
        skipped: How many frames could not be read.
    """

    clean: bool
    failure: str | None = None
    skipped: int = 0


Event = Text | ToolActivity | Heartbeat | StreamError | End


class EventDecoder:
    """Decodes frames in order. Partial texts are held until the whole text arrives.

    Attributes:
        skipped: How many frames could not be read.
    """

    def __init__(self) -> None:
        self.skipped = 0
        self._held: list[str] = []
        self._held_characters = 0

    def decode(self, frame: Frame | Comment) -> list[Event]:
        """Return the events of one frame."""
        if isinstance(frame, Comment):
            return [Heartbeat()]
        is_named_heartbeat = frame.event.strip().lower() == _HEARTBEAT
        if frame.data is None:
            # A bare envelope or the rest of an unescaped error, neither of which is an event.
            has_heartbeat, body, optional = False, frame.stray, True
        else:
            has_heartbeat, body = _strip_heartbeats(frame.data)
            optional = is_named_heartbeat
        events: list[Event] = [Heartbeat()] if has_heartbeat or is_named_heartbeat else []
        if body.strip():
            events.extend(self._decode_body(body, frame.stray, optional=optional))
        return events

    def finish(self) -> list[Event]:
        """Return the partial texts whose whole text never arrived, at the end of the stream."""
        return list(self._release_held(""))

    def _decode_body(self, body: str, stray: str, *, optional: bool) -> Iterator[Event]:
        found = parse_object(body)
        if found is not None:
            yield from self._decode_object(found)
        elif _UNESCAPED_ERROR.match(body):
            yield StreamError(_unescaped_error(body, stray))
        elif not optional:
            self.skipped += 1

    def _decode_object(self, found: Mapping[str, Any]) -> Iterator[Event]:
        parts = _parts(found)
        text = "".join(filter(None, map(_visible_text, parts)))
        if found.get("partial") is True:
            self._hold(text)
        elif text.strip():
            yield from self._release_held(text)
            yield Text(redact(text))
        for part in parts:
            if (name := _tool_name(part)) is not None:
                yield ToolActivity(whole_characters(name))
        if (error := _error(found)) is not None:
            yield error

    def _hold(self, piece: str) -> None:
        if self._held_characters + len(piece) <= MAX_HELD_CHARACTERS:
            self._held.append(piece)
            self._held_characters += len(piece)

    def _release_held(self, whole: str) -> Iterator[Text]:
        """Drop the held pieces, and yield the part of them that the whole text does not repeat."""
        held = "".join(self._held)
        self._held.clear()
        self._held_characters = 0
        # If they are longer than the whole text, and end with it, another text came before it.
        rest = held.removesuffix(whole) if held.endswith(whole) else ""
        if rest.strip():
            yield Text(redact(rest))


def _strip_heartbeats(data: str) -> tuple[bool, str]:
    """Remove heartbeat lines around an event, which servers send without a blank line between."""
    lines = data.split("\n")
    first, last = 0, len(lines)
    while first < last and lines[first].strip() in ("", _HEARTBEAT):
        first += 1
    while last > first and lines[last - 1].strip() in ("", _HEARTBEAT):
        last -= 1
    return last - first < len(lines), "\n".join(lines[first:last])


def _first_of(found: Mapping[str, Any], *names: str) -> Any:  # noqa: ANN401 -- JSON of any kind
    return next((found[name] for name in names if found.get(name) is not None), None)


def _parts(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = found.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _visible_text(part: Mapping[str, Any]) -> str | None:
    text = part.get("text")
    return text if isinstance(text, str) and part.get("thought") is not True else None


def _tool_name(part: Mapping[str, Any]) -> str | None:
    tool = _first_of(part, "functionCall", "function_call", "functionResponse", "function_response")
    if tool is None:
        return None
    name = tool.get("name") if isinstance(tool, dict) else None
    return name if isinstance(name, str) else ""


def _error(found: Mapping[str, Any]) -> StreamError | None:
    crash = found.get("error")
    code = _first_of(found, "errorCode", "error_code")
    message = _first_of(found, "errorMessage", "error_message")
    if crash:
        details = _first_of(found, "errorDetails", "error_details")
        if code is None and isinstance(details, dict):
            code = _first_of(details, "errorType", "error_type")
        return _stream_error(message_of({"error": crash}) or crash, code)
    # When a model stops normally, an agent server sends "STOP" as the error code of an event.
    if (code or message) and not (code == "STOP" and not message):
        return _stream_error(message or code, code)
    refusal = envelope_code(found)
    if refusal not in (None, DONE):
        return _stream_error(message_of(found), refusal)
    return None


def _stream_error(message: object, code: object) -> StreamError:
    return StreamError(sanitize(str(message)), None if code is None else sanitize(str(code)))


def _unescaped_error(body: str, stray: str) -> str:
    """Read the message of an error whose quotes and newlines were not escaped."""
    message = _UNESCAPED_ERROR.sub("", f"{body}\n{stray}", count=1).strip()
    return sanitize(message.removesuffix("}").rstrip().removesuffix('"'))
