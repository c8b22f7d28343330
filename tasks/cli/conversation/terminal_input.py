"""Input from a terminal: reading lines, and discarding input at the wrong time."""

import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from tasks.cli.error_handling import CommandError
from tasks.cli.output import console

EXIT_WORDS: Final = frozenset({"exit", "quit"})

_LFLAG: Final = 3
"""Index of the local modes in the attributes that termios returns."""


def input_lines() -> Iterator[str]:
    """Yield the lines of standard input up to its end or an exit word.

    Raises:
        CommandError: The input is not UTF-8.
    """
    prompt = ""
    if sys.stdin.isatty() and console().is_terminal:
        prompt = "> "
        with suppress(ImportError):
            import readline  # noqa: F401, PLC0415 - lets people edit and recall lines
    while True:
        try:
            line = input(prompt)
        except (EOFError, KeyboardInterrupt):
            if prompt:
                console().print()
            return
        except UnicodeDecodeError:
            raise CommandError("The input is not UTF-8 text.") from None
        if line.strip().casefold() in EXIT_WORDS:
            return
        yield line


@contextmanager
def input_ignored() -> Iterator[None]:
    """Discard what is typed at a terminal within the block, which would be taken as an edit.

    Input from a pipe is kept: it was written on purpose.
    """
    if not sys.stdin.isatty():
        yield
        return
    terminal = sys.stdin.fileno()
    saved = termios.tcgetattr(terminal)
    modes: list[Any] = [*saved]
    modes[_LFLAG] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSADRAIN, modes)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, saved)
