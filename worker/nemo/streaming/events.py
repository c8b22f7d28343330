"""Turns the frames of a message's stream into a small closed set of events.

The stream carries events of an agent server, one JSON object a frame, in camelCase or, from older
servers, in snake_case (contract, "The message stream"). Nothing in it can raise here: what cannot
be read is skipped and counted.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from worker.nemo.envelope import DONE, envelope_code, message_of, parse_object
from worker.nemo.errors import redact, sanitize
from worker.nemo.streaming.sse import Comment, Frame

MAX_HELD_CHARACTERS = 65_536
"""The most of a text in pieces that is held while its whole is awaited."""

_HEARTBEAT = "heartbeat"
_RAW_ERROR = re.compile(r'\s*\{\s*"error"\s*:\s*"?')


@dataclass(frozen=True, slots=True)
class Text:
    """A whole text for the user."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolActivity:
    """The agent called a tool, or a tool answered it."""

    name: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Still working."""


@dataclass(frozen=True, slots=True)
class StreamError:
    """A failure that the stream itself reported.

    Attributes:
        message: What was said, without tokens and cut short.
        code: The code or the kind of the failure, if it was named.
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
    """Reads frames in order; pieces of a text are held until its whole has come.

    Attributes:
        skipped: How many frames could not be read.
    """

    def __init__(self) -> None:
        self.skipped = 0
        self._held: list[str] = []
        self._held_characters = 0

    def decode(self, frame: Frame | Comment) -> list[Event]:
        """Give the events of one frame."""
        if isinstance(frame, Comment):
            return [Heartbeat()]
        named = frame.event.strip().lower() == _HEARTBEAT
        if frame.data is None:
            # A bare envelope or the rest of a broken error; neither is an event in the stream.
            beat, body, optional = False, frame.stray, True
        else:
            beat, body = _take_heartbeats(frame.data)
            optional = named
        events: list[Event] = [Heartbeat()] if beat or named else []
        if body.strip():
            events.extend(self._read(body, frame.stray, optional=optional))
        return events

    def finish(self) -> list[Event]:
        """Give the text whose whole never came, at the end of the stream."""
        return list(self._let_go(""))

    def _read(self, body: str, stray: str, *, optional: bool) -> Iterator[Event]:
        found = parse_object(body)
        if found is not None:
            yield from self._read_object(found)
        elif _RAW_ERROR.match(body):
            yield StreamError(_raw_error(body, stray))
        elif not optional:
            self.skipped += 1

    def _read_object(self, found: Mapping[str, Any]) -> Iterator[Event]:
        parts = _parts(found)
        text = "".join(filter(None, map(_spoken, parts)))
        if found.get("partial") is True:
            self._hold(text)
        elif text.strip():
            yield from self._let_go(text)
            yield Text(redact(text))
        for part in parts:
            if (name := _tool(part)) is not None:
                yield ToolActivity(name)
        if (error := _error(found)) is not None:
            yield error

    def _hold(self, piece: str) -> None:
        if self._held_characters + len(piece) <= MAX_HELD_CHARACTERS:
            self._held.append(piece)
            self._held_characters += len(piece)

    def _let_go(self, whole: str) -> Iterator[Text]:
        """Empty what is held, and give of it what the whole text does not say again."""
        held = "".join(self._held)
        self._held.clear()
        self._held_characters = 0
        # Pieces that end with the whole and hold more began with a text of their own.
        unsaid = held.removesuffix(whole) if held.endswith(whole) else ""
        if unsaid.strip():
            yield Text(redact(unsaid))


def _take_heartbeats(data: str) -> tuple[bool, str]:
    """Part heartbeat lines from what follows or precedes them without a blank line."""
    lines = data.split("\n")
    first, last = 0, len(lines)
    while first < last and lines[first].strip() in ("", _HEARTBEAT):
        first += 1
    while last > first and lines[last - 1].strip() in ("", _HEARTBEAT):
        last -= 1
    return last - first < len(lines), "\n".join(lines[first:last])


def _either(found: Mapping[str, Any], *names: str) -> Any:  # noqa: ANN401 -- JSON of any kind
    return next((found[name] for name in names if found.get(name) is not None), None)


def _parts(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = found.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _spoken(part: Mapping[str, Any]) -> str | None:
    text = part.get("text")
    return text if isinstance(text, str) and part.get("thought") is not True else None


def _tool(part: Mapping[str, Any]) -> str | None:
    used = _either(part, "functionCall", "function_call", "functionResponse", "function_response")
    if used is None:
        return None
    name = used.get("name") if isinstance(used, dict) else None
    return name if isinstance(name, str) else ""


def _error(found: Mapping[str, Any]) -> StreamError | None:
    crash = found.get("error")
    code = _either(found, "errorCode", "error_code")
    said = _either(found, "errorMessage", "error_message")
    if crash:
        details = _either(found, "errorDetails", "error_details")
        kind = _either(details, "errorType", "error_type") if isinstance(details, dict) else None
        return _stream_error(
            message_of({"error": crash}) or crash, _either({"c": code, "k": kind}, "c", "k")
        )
    # An agent server names a model's ordinary stop as the code of an event without content.
    if (code or said) and not (code == "STOP" and not said):
        return _stream_error(said or code, code)
    refused = envelope_code(found)
    if refused not in (None, DONE):
        return _stream_error(message_of(found), refused)
    return None


def _stream_error(said: object, code: object) -> StreamError:
    return StreamError(sanitize(str(said)), None if code is None else sanitize(str(code)))


def _raw_error(body: str, stray: str) -> str:
    """Read the words of an error whose quotes and newlines were not escaped."""
    words = _RAW_ERROR.sub("", f"{body}\n{stray}", count=1).strip()
    return sanitize(words.removesuffix("}").rstrip().removesuffix('"'))
