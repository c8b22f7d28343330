"""Finds variables that are named like settings and are none, such as misspelled ones."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Final

from pydantic import AliasChoices, BaseModel
from pydantic_settings import DotEnvSettingsSource, EnvSettingsSource

from config.settings import Settings

PREFIX: Final = "REELQUEUE_"
_OF_TESTS: Final = (f"{PREFIX}TEST_", f"{PREFIX}FAULTPOINTS")
"""How variables begin that the tests and the fault points read."""


@dataclass(frozen=True, slots=True)
class UnknownVariable:
    """A variable that no setting is read from.

    Attributes:
        name: Its name.
        nearest: The variable of a setting whose name is similar, if there is one.
    """

    name: str
    nearest: str | None

    def __str__(self) -> str:
        """Return what is wrong, and what to do."""
        advice = f"Did you mean {self.nearest}?" if self.nearest else "Remove or rename it."
        return f"{self.name} is not a setting, and has no effect. {advice}"


def unknown_variables() -> Iterator[UnknownVariable]:
    """Yield the unknown variables of the environment and the ``.env`` file, in order."""
    sources = DotEnvSettingsSource(Settings), EnvSettingsSource(Settings)
    given = {name.upper() for source in sources for name in source.env_vars}
    known = _known_variables()
    for name in sorted(given - set(known.values())):
        if name.startswith(PREFIX) and not name.startswith(_OF_TESTS):
            # The prefix would make all names similar.
            similar = get_close_matches(name.removeprefix(PREFIX), known, n=1)
            yield UnknownVariable(name, known[similar[0]] if similar else None)


@cache
def _known_variables() -> Mapping[str, str]:
    """Return the variables of all settings by their names without the prefix."""
    names = [
        str(name)
        for group in Settings.model_fields.values()
        if isinstance(group.annotation, type) and issubclass(group.annotation, BaseModel)
        for field in group.annotation.model_fields.values()
        for name in (
            field.validation_alias.choices
            if isinstance(field.validation_alias, AliasChoices)
            else [field.validation_alias]
        )
    ]
    return {name.removeprefix(PREFIX): name for name in names}
