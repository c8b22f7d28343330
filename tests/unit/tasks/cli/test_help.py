"""The help of every command, the version, and completion in the shell."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from tasks.cli import app
from tests.support.commands import run_reelqueue
from tests.support.processes import ROOT

PANELS = {"Submit", "Follow", "Decide", "Operate", "Start"}
OWN_HELP = "sandbox"
"""The command whose help is printed by the program that it starts."""


def commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command by its words, groups included."""
    command = command or get_command(app)
    yield " ".join(path), command
    if isinstance(command, TyperGroup):
        context = command.make_context("reelqueue", [], resilient_parsing=True)
        for name in command.list_commands(context):
            yield from commands(command.get_command(context, name), (*path, name))


COMMANDS = dict(commands())


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_and_every_option_has_a_help_text(words: str) -> None:
    command = COMMANDS[words]
    assert command.help
    assert [param.name for param in command.params if not param.help] == []


@pytest.mark.parametrize("words", sorted(COMMANDS.keys() - {OWN_HELP}))
def test_every_option_that_takes_a_value_shows_its_default(words: str) -> None:
    options = [
        param
        for param in COMMANDS[words].params
        if param.param_type_name == "option" and not param.is_flag
    ]
    answer = run_reelqueue(*words.split(), "--help", env={"COLUMNS": "300"})
    assert answer.code == 0
    assert answer.out.count("[default: ") == len(options)
    assert all(max(option.opts, key=len) in answer.out for option in options)


def test_commands_are_grouped_by_what_people_do() -> None:
    found = {command.rich_help_panel for words, command in COMMANDS.items() if words.count(" ") < 1}
    assert found - {None} == PANELS
    out = run_reelqueue("--help").out
    positions = [out.index(f"─ {panel} ─") for panel in ("Submit", "Follow", "Decide", "Operate")]
    assert positions == sorted(positions)


def test_the_version_is_that_of_the_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    answer = run_reelqueue("--version")
    assert (answer.code, answer.out) == (0, f"reelqueue {project['version']}\n")


def run_in_bash(script: str, home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a script whose `$reelqueue` is the command; completion asks which shell called it."""
    return subprocess.run(
        ["bash", "-c", script],
        env={
            **os.environ,
            "HOME": str(home),
            "PYTHONPATH": str(ROOT),
            "reelqueue": f"{sys.executable} -m tasks.cli",
            **env,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )


def test_completion_is_shown_and_installed(tmp_path: Path) -> None:
    shown = run_in_bash("$reelqueue --show-completion; exit $?", tmp_path)
    assert "_REELQUEUE_COMPLETE=complete_bash" in shown.stdout, shown.stderr
    installed = run_in_bash("$reelqueue --install-completion; exit $?", tmp_path)
    assert installed.returncode == 0, installed.stderr
    assert "reelqueue" in (tmp_path / ".bashrc").read_text()


def test_completion_completes_commands_and_options(tmp_path: Path) -> None:
    env = {"_REELQUEUE_COMPLETE": "complete_bash"}
    command = run_in_bash("$reelqueue", tmp_path, **env, COMP_WORDS="reelqueue ba", COMP_CWORD="1")
    assert command.stdout.split() == ["batch"], command.stderr
    words = "reelqueue worker --con"
    option = run_in_bash("$reelqueue", tmp_path, **env, COMP_WORDS=words, COMP_CWORD="2")
    assert option.stdout.split() == ["--concurrency"], option.stderr


def test_the_help_says_what_a_second_submission_of_a_batch_keeps() -> None:
    out = run_reelqueue("batch", "submit", "--help", env={"COLUMNS": "300"}).out
    assert out.count("that of an earlier submission") == 2
