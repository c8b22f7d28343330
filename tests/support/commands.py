"""Runs the command line in the process of the tests: starting another takes a second."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from typer.testing import CliRunner

from config.settings import get_settings
from tasks.cli import app
from tasks.producer.producer import default_producer
from tests.support.waiting import wait_until


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """The JSON objects on standard output, one on each line."""
        found = [json.loads(line) for line in self.out.splitlines()]
        assert all(isinstance(record, dict) for record in found)
        return found


def run_reelqueue(
    *arguments: object, env: Mapping[str, str | None] | None = None, stdin: str | bytes = ""
) -> CommandResult:
    """Run a command. It reads its settings again, as in a new process."""
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
    """Close the connection of the last command, and clear the caches of a process."""
    if default_producer.cache_info().currsize:
        default_producer().ledger.redis.close()
    default_producer.cache_clear()
    get_settings.cache_clear()


def wait_for_doctor(env: Mapping[str, str] | None = None, limit: float = 120) -> None:
    """Wait until `reelqueue doctor` finds no fault.

    A worker compares the ledger with the journal after it has registered, and the first one makes
    the identity of both then. Until that doctor reports that nothing is paid.
    """

    def failing() -> list[object]:
        checks = run_reelqueue("doctor", "--json", env=env).records
        return [check for check in checks if not check["ok"]]

    wait_until(lambda: not failing(), "all checks of doctor to succeed", limit, failing)
