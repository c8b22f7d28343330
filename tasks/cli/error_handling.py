"""Exit codes, and errors as sentences on standard error instead of tracebacks."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import typer
from typer.core import TyperGroup

from tasks.cli.encoding import discard


class ExitCode(IntEnum):
    """Exit codes of the commands."""

    DONE = 0
    JOB_FAILED = 1
    BAD_INPUT = 2
    UNAVAILABLE = 3
    JOB_HELD = 4
    INTERRUPTED = 130
    OUTPUT_CLOSED = 141
    """The reader of the output, such as `head`, closed it. SIGPIPE ends programs with this code."""


class CommandError(Exception):
    """A command cannot do what was requested. The text says why, and what to do."""

    def __init__(self, message: str, code: ExitCode = ExitCode.BAD_INPUT) -> None:
        super().__init__(message)
        self.code = code


class ErrorHandlingGroup(TyperGroup):
    """A group of commands, which expected errors end with a message and an exit code."""

    def main(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - typer's signature
        """Run the command line."""
        try:
            return super().main(*args, **options)
        except OSError:
            # The message about wrong usage cannot be written.
            discard(sys.stderr)
            sys.exit(ExitCode.BAD_INPUT)

    def make_context(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - typer's signature
        """Parse the arguments. The help and the version are printed here."""
        with _errors_reported():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's signature
        """Run the command that was requested."""
        with _errors_reported():
            return super().invoke(ctx)


@contextmanager
def _errors_reported() -> Iterator[None]:
    """Print the message of an expected error.

    Raises:
        typer.Exit: With the exit code of the error.
    """
    try:
        try:
            yield
        finally:
            _flush_output()
    except BrokenPipeError:
        discard(sys.stdout)
        raise typer.Exit(ExitCode.OUTPUT_CLOSED) from None
    except typer.Exit:
        # `--version` and `--help` end with it.
        raise
    except (Exception, KeyboardInterrupt) as error:
        # Most commands end without an error, and start faster without this module.
        from tasks.cli.error_messages import report  # noqa: PLC0415

        code = report(error)
        if code is None:
            raise
    else:
        return
    raise typer.Exit(code)


def _flush_output() -> None:
    """Flush standard output, so that a failure is handled as an error of the command.

    Raises:
        OSError: The output cannot be written.
    """
    try:
        # A program that is started without a standard output has none.
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        discard(sys.stdout)
        raise
