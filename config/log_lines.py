"""Escapes the values of console log lines, so that one event is one line and cannot be forged.

Values such as task ids, prompts and the replies of servers come from outside.
"""

from structlog.typing import EventDict, WrappedLogger

_MULTILINE = ("exception", "stack")
_PLAIN = ("event", "level", "logger", "timestamp")
_INDENT = "    "


class _Quoted:
    """A text that the console renderer writes as its ``repr``, with special characters escaped."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return repr(self._text)


def keep_on_one_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Escape line breaks and control characters. A structlog processor for the console.

    The lines of a traceback are kept and indented, so that none looks like an event.
    """
    return {escaped(name): _shown(name, value) for name, value in event.items()}


def escaped(text: str) -> str:
    """Return a text with all non-printable characters escaped."""
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
        # Not splitlines(), which also splits at characters that are no line ends in a terminal.
        return "\n".join(_INDENT + escaped(line) for line in value.split("\n"))
    if value.isprintable():
        return value
    return escaped(value) if name in _PLAIN else _Quoted(value)
