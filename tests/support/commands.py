"""The command line without the second that it takes a process to start."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from typer.testing import CliRunner

from config.settings import get_settings
from tasks.cli import app
from tasks.producer.producer import default_producer


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """Standard output, each line of which must be a JSON object."""
        found = [json.loads(line) for line in self.out.splitlines()]
        assert all(isinstance(record, dict) for record in found)
        return found


def run_reelqueue(
    *arguments: object, env: Mapping[str, str | None] | None = None, stdin: str | bytes = ""
) -> CommandResult:
    """Run a command; it reads its settings anew, as a process of its own does."""
    close_and_clear_caches()
    words = [str(argument) for argument in arguments]
    try:
        result = CliRunner().invoke(app, words, env=env, input=stdin)
    finally:
        close_and_clear_caches()
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return CommandResult(result.exit_code, result.stdout, result.stderr)


def close_and_clear_caches() -> None:
    """Close and drop what a command has opened."""
    if default_producer.cache_info().currsize:
        default_producer().ledger.redis.close()
    default_producer.cache_clear()
    get_settings.cache_clear()
