"""Errors on their way out: each a sentence on standard error and an exit code, no traceback."""

from enum import IntEnum
from typing import Any, Final

import typer
from pydantic import ValidationError
from redis.exceptions import RedisError
from typer.core import TyperGroup

from tasks.manifests.csv_lines import ManifestError
from tasks.schema.errors import (
    BatchNameTaken,
    InvalidPayloadError,
    KeyConflict,
    RedisUnavailable,
    UnknownId,
)
from worker.ledger.model.jobs import UnreadableRecordError
from worker.storage.errors import StoreError


class ExitCode(IntEnum):
    """How a command ended."""

    DONE = 0
    JOB_FAILED = 1
    BAD_INPUT = 2
    UNAVAILABLE = 3
    JOB_HELD = 4
    INTERRUPTED = 130


class CommandError(Exception):
    """A command that cannot do what was asked. The text says what to do."""

    def __init__(self, message: str, code: ExitCode = ExitCode.BAD_INPUT) -> None:
        super().__init__(message)
        self.code = code


_BAD_INPUT: Final = (ManifestError, BatchNameTaken, KeyConflict, UnknownId)


class ErrorHandlingGroup(TyperGroup):
    """The whole command line, with every foreseen error told in words."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's signature
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except CommandError as error:
            exit_with_error(str(error), error.code)
        except InvalidPayloadError as error:
            exit_with_error("\n".join(error.problems), ExitCode.BAD_INPUT)
        except _BAD_INPUT as error:
            exit_with_error(str(error), ExitCode.BAD_INPUT)
        except RedisUnavailable as error:
            exit_with_error(str(error), ExitCode.UNAVAILABLE)
        except RedisError as error:
            exit_with_error(
                f"Redis refused: {error}. Look at it with `reelqueue doctor`.", ExitCode.UNAVAILABLE
            )
        except StoreError as error:
            exit_with_error(f"{error.message} {error.remedy}", ExitCode.UNAVAILABLE)
        except UnreadableRecordError as error:
            exit_with_error(
                f"A record cannot be read: {error}. Upgrade reelqueue.", ExitCode.UNAVAILABLE
            )
        except BrokenPipeError:
            raise
        except OSError as error:
            exit_with_error(
                f"{error.filename or 'A file'}: {error.strerror or error}.", ExitCode.UNAVAILABLE
            )
        except ValidationError as error:
            exit_with_error(
                f"The settings are wrong. {_settings_errors(error)}", ExitCode.BAD_INPUT
            )
        except KeyboardInterrupt:
            exit_with_error("Interrupted. What was submitted goes on.", ExitCode.INTERRUPTED)


def exit_with_error(message: str, code: ExitCode) -> None:
    """Say why on standard error, and end.

    Raises:
        typer.Exit: Always.
    """
    typer.echo(message, err=True)
    raise typer.Exit(code)


def _settings_errors(error: ValidationError) -> str:
    return " ".join(
        f"{found['loc'][-1]}: {found['msg'].removeprefix('Value error, ')}."
        for found in error.errors()
    )
