"""README says what is there, no more and no less."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from redis import Redis
from redis.exceptions import NoPermissionError

import tasks
from tasks.cli import app
from tests.support.valkey import Valkey
from worker.ledger.model.states import Reason

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")

CODE = re.compile(r"```\w*\n(.*?)```|`([^`]+)`", re.DOTALL)
WORD = re.compile(r"""'[^']*'|"[^"]*"|[^\s"']+""")


def code_pieces() -> Iterator[str]:
    """Every line of code in the README, without its comment."""
    for block, inline in CODE.findall(README):
        for line in (block or inline.replace("\n", " ")).splitlines():
            yield line.partition(" #")[0].strip()


def commands(program: str) -> list[list[str]]:
    """The words after a program's name, wherever the README calls it."""
    found = [re.search(rf"(?:^|\s){program} (.*)", piece) for piece in code_pieces()]
    return [WORD.findall(match[1]) for match in found if match and not match[1].startswith("(")]


@pytest.mark.parametrize("words", commands("make"), ids=" ".join)
def test_make_knows_every_target(words: list[str]) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert words[0] in targets


@pytest.mark.parametrize("words", commands("reelqueue"), ids=" ".join)
def test_the_command_line_knows_every_command_and_option(words: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while hasattr(command, "commands"):
        name = rest.pop(0)
        assert name in command.commands, f"no command {name!r}"
        command = command.commands[name]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in rest if word.startswith("-")} <= known


def test_readme_calls_make_and_the_command_line() -> None:
    """The two tests above have something to look at."""
    assert ["run"] in commands("make")
    assert ["doctor"] in commands("reelqueue")


def test_python_names_are_exported() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    imported = [
        alias.name
        for block in blocks
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.ImportFrom) and node.module == "tasks"
        for alias in node.names
    ]
    assert imported
    assert [name for name in imported if not hasattr(tasks, name)] == []


def test_every_reason_is_explained() -> None:
    assert [reason for reason in Reason if f"`{reason}`" not in README] == []


def test_every_link_into_the_tree_leads_somewhere() -> None:
    links = re.findall(r"\]\(((?!https?:|#)[^)]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_a_user_that_watches_sees_jobs_but_no_token(redis: Redis, valkey: Valkey) -> None:
    """The user that the README makes for Redis."""
    found = re.search(r"`(ACL SETUSER watcher [^`]+)`", README)
    assert found is not None
    admin: Any = redis
    admin.execute_command(*found[1].split())
    redis.hset("job:{rq}:1", "state", "queued")
    redis.set("token:{rq}", "nmv_usr_secret")
    with Redis(port=valkey.port, username="watcher", password="PASSWORD") as watcher:
        assert watcher.hget("job:{rq}:1", "state") == b"queued"
        with pytest.raises(NoPermissionError):
            watcher.get("token:{rq}")
        with pytest.raises(NoPermissionError):
            watcher.hset("job:{rq}:1", "state", "held")
    admin.execute_command("ACL", "DELUSER", "watcher")
