"""Encodings of the standard streams, on terminals that cannot show every character.

Text for people is written in the encoding of the terminal; characters that it lacks are replaced.
JSON and results are read by programs, so they are always UTF-8.
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
    unencodable = error.object[error.start : error.end]
    return "".join(_SIMILAR.get(character, "?") for character in unencodable), error.end


codecs.register_error(REPLACE, _replace)


def make_streams_safe() -> None:
    """Make the standard streams replace characters that they cannot encode, and read UTF-8.

    Closed streams are connected to the null device. Otherwise a connection or a file could get the
    descriptor of a closed stream, and output would be written into it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # This opens the lowest free descriptor, which is the closed one.
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
    r"""Encode a text as UTF-8. A lone surrogate is written as its escape, such as ``\udc80``."""
    return text.encode("utf-8", "backslashreplace")


@contextmanager
def utf8_output() -> Iterator[TextIO]:
    """Yield standard output as a UTF-8 stream that does not change line endings."""
    sys.stdout.flush()
    binary = sys.stdout.buffer
    sink = io.TextIOWrapper(binary, "utf-8", errors="backslashreplace", newline="")
    try:
        yield sink
        sink.flush()
    except OSError:
        # Otherwise `detach` would write the remaining text, and fail again.
        discard(sys.stdout)
        raise
    finally:
        # Otherwise the wrapper would close standard output when it is garbage-collected.
        sink.detach()


def discard(stream: TextIO) -> None:
    """Discard the buffered output of a stream whose output cannot be written.

    Otherwise the interpreter reports an error when it flushes the stream at exit.
    """
    null_device = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null_device, stream.fileno())
    os.close(null_device)


def _is_ascii(stream: io.TextIOWrapper) -> bool:
    try:
        return codecs.lookup(stream.encoding).name == "ascii"
    except LookupError:
        return False
