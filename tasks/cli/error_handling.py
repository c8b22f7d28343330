"""Exit codes, and errors as sentences on standard error instead of tracebacks."""

import os
import sys
from enum import IntEnum
from typing import Any

import typer
from pydantic import ValidationError
from redis.exceptions import RedisError
from typer.core import TyperGroup

from config.settings import describe_problems
from tasks.cli.output import note
from tasks.manifests.lines import ManifestError
from tasks.schema.errors import (
    BatchNameTaken,
    InvalidPayloadError,
    KeyConflict,
    NotSayable,
    RedisUnavailable,
    UnknownId,
)
from worker.egress.errors import WrongEnvironmentError
from worker.journal.stores import JournalFailed
from worker.ledger.model.jobs import UnreadableRecordError
from worker.storage.errors import StoreError


class ExitCode(IntEnum):
    """Exit codes of the commands."""

    DONE = 0
    JOB_FAILED = 1
    BAD_INPUT = 2
    UNAVAILABLE = 3
    JOB_HELD = 4
    INTERRUPTED = 130
    OUTPUT_CLOSED = 141
    """As of a program that SIGPIPE ends: the reader of its output, such as `head`, has left."""


class CommandError(Exception):
    """A command that cannot do what was requested. The text says what to do."""

    def __init__(self, message: str, code: ExitCode = ExitCode.BAD_INPUT) -> None:
        super().__init__(message)
        self.code = code


class ErrorHandlingGroup(TyperGroup):
    """The commands; expected errors end them with a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's signature
        """Run the command that was requested."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                _flush_output()
        except BrokenPipeError:
            _discard_output()
            raise typer.Exit(ExitCode.OUTPUT_CLOSED) from None
        except (Exception, KeyboardInterrupt) as error:
            explained = _explain(error)
            if explained is None:
                raise
        message, code = explained
        note(message)
        raise typer.Exit(code)


def _flush_output() -> None:
    """Write what is buffered, so that its errors are those of the command.

    Raises:
        OSError: It cannot be written.
    """
    try:
        # A program that is started without a standard output has none.
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        _discard_output()
        raise


def _discard_output() -> None:
    """Let what is still buffered go nowhere, or the interpreter reports it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _explain(error: BaseException) -> tuple[str, ExitCode] | None:
    """Return the message and the exit code for an expected error."""
    match error:
        case CommandError():
            return str(error), error.code
        case InvalidPayloadError():
            return "\n".join(error.problems), ExitCode.BAD_INPUT
        case ManifestError() | BatchNameTaken() | KeyConflict() | NotSayable() | UnknownId():
            return str(error), ExitCode.BAD_INPUT
        case WrongEnvironmentError():
            return str(error), ExitCode.BAD_INPUT
        case RedisUnavailable():
            return str(error), ExitCode.UNAVAILABLE
        case RedisError():
            return (
                f"Redis returned an error: {error}. Check it with `reelqueue doctor`.",
                ExitCode.UNAVAILABLE,
            )
        case JournalFailed():
            return f"{error} {error.remedy}", ExitCode.UNAVAILABLE
        case StoreError():
            return f"{error.message} {error.remedy}", ExitCode.UNAVAILABLE
        case UnreadableRecordError():
            return f"A record cannot be read: {error}. Upgrade reelqueue.", ExitCode.UNAVAILABLE
        case OSError():
            what = f"{error.filename or 'A file'}: {error.strerror or error}."
            return what, ExitCode.UNAVAILABLE
        case ValidationError():
            return describe_problems(error), ExitCode.BAD_INPUT
        case KeyboardInterrupt():
            return "Interrupted. Submitted jobs continue.", ExitCode.INTERRUPTED
    return None
