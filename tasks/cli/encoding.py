"""Encodings of the standard streams, on terminals that cannot show every character.

Text for people is written in the encoding of the terminal, and what that cannot show is replaced.
JSON and results are for programs and files: they are UTF-8 whatever the terminal is.
"""

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TextIO

REPLACE: Final = "reelqueue.replace"
"""The name of the error handler for `str.encode` that replaces characters by similar ones."""

_SIMILAR: Final = {
    "✓": "+",
    "✗": "x",
    "…": "...",
    "–": "-",
    "—": "-",
    "’": "'",
    "“": '"',
    "”": '"',
}


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    hidden = error.object[error.start : error.end]
    return "".join(_SIMILAR.get(sign, "?") for sign in hidden), error.end


codecs.register_error(REPLACE, _replace)


def make_streams_safe() -> None:
    """Let the standard streams of this process replace what they cannot write, and read UTF-8.

    Streams that are closed become ones that lead nowhere. Otherwise a connection or a file could
    get the number of a closed one, and be written to as if it were the terminal.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is given, which is this one.
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=REPLACE)
    if isinstance(sys.stdin, io.TextIOWrapper) and _is_ascii(sys.stdin):
        sys.stdin.reconfigure(encoding="utf-8")


def to_utf8(text: str) -> bytes:
    r"""Encode a text for programs. Half of a surrogate pair becomes its escape, as ``\udc80``."""
    return text.encode("utf-8", "backslashreplace")


@contextmanager
def utf8_output() -> Iterator[TextIO]:
    """Yield standard output as a UTF-8 stream, which keeps line ends as they are."""
    sys.stdout.flush()
    binary = sys.stdout.buffer
    sink = io.TextIOWrapper(binary, "utf-8", errors="backslashreplace", newline="")
    try:
        yield sink
        sink.flush()
    except OSError:
        # Without it, the text that is left would be written again below, and fail again.
        discard(sys.stdout)
        raise
    finally:
        # Without it, the collected wrapper would close standard output.
        sink.detach()


def discard(stream: TextIO) -> None:
    """Let what is buffered for a stream go nowhere, or the interpreter reports it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _is_ascii(stream: io.TextIOWrapper) -> bool:
    try:
        return codecs.lookup(stream.encoding).name == "ascii"
    except LookupError:
        return False
