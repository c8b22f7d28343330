""".env.example lists every setting with its description and default."""

import ast
import inspect
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import AliasChoices, BaseModel, SecretStr
from pydantic_core import PydanticUndefined

from config.settings import Settings

TEXT = (Path(__file__).resolve().parents[3] / ".env.example").read_text(encoding="utf-8")
ENTRY = re.compile(r"((?:^# (?!---).+\n)+)#([A-Z_]+)=(.*)$", re.MULTILINE)
COMPOSE_ONLY = {"FLOWER_BASIC_AUTH", "PHOTOS"}


def documented() -> dict[str, tuple[str, str]]:
    """Map each variable in the file to its comment and its value."""
    return {
        variable: (" ".join(comment.replace("# ", " ").split()), value)
        for comment, variable, value in ENTRY.findall(TEXT)
    }


def settings() -> dict[str, tuple[str, str]]:
    """Map the variable of each setting to its description and its default."""
    found = {}
    for group in Settings.model_fields.values():
        assert isinstance(group.annotation, type)
        assert issubclass(group.annotation, BaseModel)
        descriptions = dict(docstrings(group.annotation))
        for name, field in group.annotation.model_fields.items():
            alias = field.validation_alias
            variable = alias.choices[0] if isinstance(alias, AliasChoices) else alias
            found[str(variable)] = (descriptions[name], default_text(field.default))
    return found


def docstrings(group: type) -> Iterator[tuple[str, str]]:
    """Yield the name of each attribute with the docstring below it."""
    (definition,) = ast.parse(inspect.getsource(group)).body
    assert isinstance(definition, ast.ClassDef)
    for attribute, below in pairwise(definition.body):
        if isinstance(attribute, ast.AnnAssign) and isinstance(below, ast.Expr):
            yield ast.unparse(attribute.target), " ".join(ast.literal_eval(below.value).split())


def default_text(default: object) -> str:
    """Return a default as it is written in an environment file."""
    if default in (None, (), PydanticUndefined):
        return ""
    if isinstance(default, SecretStr):
        return default.get_secret_value()
    return f"{default:g}" if isinstance(default, float | bool) else str(default)


def test_the_file_lists_every_setting_and_no_other() -> None:
    assert documented().keys() - COMPOSE_ONLY == settings().keys()


@pytest.mark.parametrize("variable", settings())
def test_each_setting_has_its_description_and_default(variable: str) -> None:
    assert documented()[variable] == settings()[variable]
