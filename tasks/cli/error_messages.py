"""What a command prints for an expected error, and its exit code."""

import typer
from pydantic import ValidationError
from redis.exceptions import RedisError

from config.settings import describe_problems
from config.validation_messages import validation_message
from tasks.cli.error_handling import CommandError, ExitCode
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
from worker.shown_text import on_one_line
from worker.storage.errors import StoreError


def report(error: BaseException) -> ExitCode | None:
    """Print the message of an expected error and return its exit code; None for other errors.

    Wrong options are left to Typer, with a message in the words of this project.
    """
    if isinstance(error, typer.BadParameter) and isinstance(error.__cause__, ValidationError):
        # Typer prints it, with the option, in the words of pydantic.
        problem = error.__cause__.errors(include_url=False, include_input=False)[0]
        error.message = on_one_line(validation_message(problem))
    explained = explain(error)
    if explained is None:
        return None
    message, code = explained
    note(message)
    return code


def explain(error: BaseException) -> tuple[str, ExitCode] | None:
    """Return the message and the exit code of an expected error; None for other errors."""
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
            what = f"{error.filename or 'The output or a file'}: {error.strerror or error}."
            return what, ExitCode.UNAVAILABLE
        case ValidationError():
            return describe_problems(error), ExitCode.BAD_INPUT
        case KeyboardInterrupt():
            return "Interrupted. Submitted jobs continue.", ExitCode.INTERRUPTED
    return None
