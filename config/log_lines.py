"""Console lines that no value can break or forge: one event is one line.

A value may come from anybody: the id of a task, the prompt of a job, the answer of a server.
"""

from structlog.typing import EventDict, WrappedLogger

_MULTILINE = ("exception", "stack")
_PLAIN = ("event", "level", "logger", "timestamp")
_INDENT = "    "


class _Quoted:
    """A value with characters that must not be written as they are."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return repr(self._text)


def keep_on_one_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Escape line breaks and control characters. A structlog processor for the console.

    Tracebacks keep their lines, each with spaces in front, so that none looks like an event.
    """
    return {escaped(name): _shown(name, value) for name, value in event.items()}


def escaped(text: str) -> str:
    """Return a text with every character escaped that is not printable."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def _shown(name: str, value: object) -> object:
    if not isinstance(value, str):
        return value
    if name in _MULTILINE:
        # Not splitlines(), which takes more than terminals do for the end of a line.
        return "\n".join(_INDENT + escaped(line) for line in value.split("\n"))
    if value.isprintable():
        return value
    return escaped(value) if name in _PLAIN else _Quoted(value)
