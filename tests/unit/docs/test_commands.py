"""The commands in the documents exist, with their options, and so do the names from `tasks`."""

import ast
import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

import tasks
from tasks.cli import app
from tests.unit.docs.documents import DOCUMENTS, PAGES, ROOT

WORD = re.compile(r"""'[^']*'|"[^"]*"|[^\s"']+""")
PLACEHOLDER = re.compile(r"[A-Z]+$")


def commands(program: str) -> list[list[str]]:
    """Return the words after a program's name, once for each different call in the documents."""
    return [WORD.findall(call) for call in sorted(set(_calls(program)))]


def _calls(program: str) -> Iterator[str]:
    for document in DOCUMENTS:
        for line in document.code_lines():
            found = re.search(rf"(?:^|\s){program} ([^&|;]*)", line)
            if found and not found[1].startswith("("):
                yield found[1].strip()


@pytest.mark.parametrize("words", commands("make"), ids=" ".join)
def test_make_has_every_target(words: list[str]) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert words[0] in targets


@pytest.mark.parametrize("words", commands("reelqueue"), ids=" ".join)
def test_the_command_line_has_every_command_and_option(words: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        if PLACEHOLDER.match(name):
            return
        assert name in command.list_commands(None), f"no command {name!r}"
        command = command.get_command(None, name)
    options = {word.partition("=")[0] for word in rest if word.startswith("-")}
    assert options <= _known_options(command)


def _known_options(command: Any) -> set[str]:
    known = {option for parameter in command.params for option in parameter.opts}
    if command.name == "sandbox":
        # This command passes its options on.
        known |= set(re.findall(r'"(--[a-z-]+)"', (ROOT / "sandbox/options.py").read_text()))
        known |= {"--" + name.replace("_", "-") for name in _sandbox_options()}
    return known | {"--help", "-h"}


def _sandbox_options() -> set[str]:
    tree = ast.parse((ROOT / "sandbox/options.py").read_text(encoding="utf-8"))
    return {
        node.target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def test_the_documents_call_make_and_the_command_line() -> None:
    """The two tests above have something to check."""
    assert ["run"] in commands("make")
    assert ["doctor"] in commands("reelqueue")


def test_every_command_is_described() -> None:
    text = "".join(document.text for document in PAGES)
    root: Any = typer.main.get_command(app)
    assert [name for name in root.list_commands(None) if f"reelqueue {name}" not in text] == []


def test_every_target_of_make_is_described_or_in_its_help() -> None:
    described = re.findall(r"^([a-z]+):(.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [target for target, rest in described if "## " not in rest] == []


def test_names_imported_from_tasks_are_exported() -> None:
    imported = [
        alias.name
        for document in DOCUMENTS
        for block in document.blocks("python")
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.ImportFrom) and node.module == "tasks"
        for alias in node.names
    ]
    assert imported
    assert [name for name in imported if not hasattr(tasks, name)] == []
