"""Errors on their way out: each a sentence on standard error and an exit code, no traceback."""

from enum import IntEnum
from typing import Any, Final

import typer
from pydantic import ValidationError
from redis.exceptions import RedisError
from typer.core import TyperGroup

from tasks.manifests.reader import ManifestError
from tasks.schema.errors import BatchNameTaken, KeyConflict, RedisUnavailable, UnknownId
from tasks.schema.payload import InvalidPayloadError
from worker.ledger.model.jobs import UnreadableRecordError
from worker.storage.store import StoreError


class Exit(IntEnum):
    """How a command ended."""

    DONE = 0
    JOB_FAILED = 1
    BAD_INPUT = 2
    UNAVAILABLE = 3
    JOB_HELD = 4
    INTERRUPTED = 130


class CommandError(Exception):
    """A command that cannot do what was asked. The text says what to do."""

    def __init__(self, message: str, code: Exit = Exit.BAD_INPUT) -> None:
        super().__init__(message)
        self.code = code


_BAD_INPUT: Final = (ManifestError, BatchNameTaken, KeyConflict, UnknownId)


class Guarded(TyperGroup):
    """The whole command line, with every foreseen error told in words."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's signature
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except CommandError as error:
            end(str(error), error.code)
        except InvalidPayloadError as error:
            end("\n".join(error.problems), Exit.BAD_INPUT)
        except _BAD_INPUT as error:
            end(str(error), Exit.BAD_INPUT)
        except RedisUnavailable as error:
            end(str(error), Exit.UNAVAILABLE)
        except RedisError as error:
            end(f"Redis refused: {error}. Look at it with `reelqueue doctor`.", Exit.UNAVAILABLE)
        except StoreError as error:
            end(f"{error.message} {error.remedy}", Exit.UNAVAILABLE)
        except UnreadableRecordError as error:
            end(f"A record cannot be read: {error}. Upgrade reelqueue.", Exit.UNAVAILABLE)
        except BrokenPipeError:
            raise
        except OSError as error:
            end(f"{error.filename or 'A file'}: {error.strerror or error}.", Exit.UNAVAILABLE)
        except ValidationError as error:
            end(f"The settings are wrong. {_settings(error)}", Exit.BAD_INPUT)
        except KeyboardInterrupt:
            end("Interrupted. What was submitted goes on.", Exit.INTERRUPTED)


def end(message: str, code: Exit) -> None:
    """Say why on standard error, and end.

    Raises:
        typer.Exit: Always.
    """
    typer.echo(message, err=True)
    raise typer.Exit(code)


def _settings(error: ValidationError) -> str:
    return " ".join(
        f"{'.'.join(map(str, found['loc']))}: {found['msg']}." for found in error.errors()
    )
