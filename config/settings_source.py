"""Reads the groups of settings from the environment and the ``.env`` file."""

from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource


class GroupedVariables(PydanticBaseSettingsSource):
    """Passes all variables to each group, which reads its own.

    Args:
        settings: The class of the settings.
        sources: Where variables are read from; a later source has precedence.
    """

    def __init__(self, settings: type[BaseSettings], *sources: PydanticBaseSettingsSource) -> None:
        super().__init__(settings)
        self._variables: dict[str, str] = {}
        for source in sources:
            if isinstance(source, EnvSettingsSource):
                found = {
                    name.upper(): value
                    for name, value in source.env_vars.items()
                    if value is not None
                }
                self._variables |= found

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """Return the variables for a group."""
        return self._variables, field_name, True

    def __call__(self) -> dict[str, Any]:
        """Return the variables for all groups."""
        return dict.fromkeys(self.settings_cls.model_fields, self._variables)
