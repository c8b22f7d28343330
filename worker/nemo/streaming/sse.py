"""Decodes server-sent events from bytes as they arrive.

Follows the HTML standard's event stream format, with three differences that the video API needs
(docs/video-api.md, "The message stream"):

- A comment line is reported, as soon as it ends: it is a heartbeat.
- An event without data is reported, and so is a last event without a blank line after it.
- Lines that are not a field are kept with the event: older servers break the message of an error
  over several lines.

``id`` and ``retry`` are ignored: they are for reconnecting, which a paid stream never does.
"""

from dataclasses import dataclass

MAX_LINE_BYTES = 2**20
MAX_EVENT_BYTES = 2 * 2**20

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Comment:
    """A line that begins with a colon."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One event as it was received.

    Attributes:
        event: Its name; empty if it has none.
        data: Its data lines, joined by newlines; None if it has none.
        stray: Its lines that are not a field, joined by newlines.
    """

    event: str
    data: str | None
    stray: str = ""


class SseDecoder:
    """Decodes chunks of bytes into frames, in bounded memory and linear time.

    An event that is over its limit, or has a line over its limit, is dropped as a whole.

    Attributes:
        dropped: How many events were dropped because of their size.
    """

    def __init__(self, *, max_line: int = MAX_LINE_BYTES, max_event: int = MAX_EVENT_BYTES) -> None:
        self.dropped = 0
        self._max_line = max_line
        self._max_event = max_event
        self._line = bytearray()
        self._line_too_long = False
        self._first_line = True
        self._after_cr = False
        self._begin_event()

    def feed(self, chunk: bytes) -> list[Frame | Comment]:
        """Take the next bytes and return the frames that they complete."""
        if not chunk:
            return []
        frames: list[Frame | Comment] = []
        after_cr, self._after_cr = self._after_cr, chunk.endswith(b"\r")
        if after_cr:
            # The line ended at the carriage return; a newline belongs to the same line end.
            chunk = chunk.removeprefix(b"\n")
        for line in chunk.splitlines(keepends=True):
            text = line.rstrip(b"\r\n")
            self._extend_line(text)
            if len(text) < len(line):
                self._end_line(frames)
        return frames

    def close(self) -> list[Frame | Comment]:
        """Return the last event, if no blank line ended it before the stream ended."""
        frames: list[Frame | Comment] = []
        if self._line or self._line_too_long:
            self._end_line(frames)
        self._end_event(frames)
        return frames

    def _begin_event(self) -> None:
        self._event = b""
        self._data = bytearray()
        self._stray = bytearray()
        self._has_data = False
        self._event_too_long = False

    def _extend_line(self, piece: bytes) -> None:
        if self._line_too_long:
            return
        if len(self._line) + len(piece) > self._max_line:
            self._line.clear()
            self._line_too_long = True
        else:
            self._line += piece

    def _end_line(self, frames: list[Frame | Comment]) -> None:
        line = bytes(self._line)
        self._line.clear()
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(_BOM)
        if self._line_too_long:
            self._line_too_long = False
            self._drop_event()
        elif not line:
            self._end_event(frames)
        elif line.startswith(b":"):
            frames.append(Comment())
        else:
            self._take_field(line)

    def _take_field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"data":
                self._has_data = True
                self._extend(self._data, value)
            case b"event":
                self._event = value
            case b"id" | b"retry":
                pass
            case _:
                self._extend(self._stray, line)

    def _extend(self, part: bytearray, value: bytes) -> None:
        if len(self._data) + len(self._stray) + len(value) >= self._max_event:
            self._drop_event()
        elif not self._event_too_long:
            part += value
            part += b"\n"

    def _drop_event(self) -> None:
        self._event_too_long = True
        self._data.clear()
        self._stray.clear()

    def _end_event(self, frames: list[Frame | Comment]) -> None:
        if self._event_too_long:
            self.dropped += 1
        elif self._has_data or self._event or self._stray:
            data = _text(self._data[:-1]) if self._has_data else None
            frames.append(Frame(_text(self._event), data, _text(self._stray[:-1])))
        else:
            return
        self._begin_event()


def _text(raw: bytes | bytearray) -> str:
    return raw.decode("utf-8", errors="replace")
