"""Prompt templates: prompts with ``{column}`` placeholders, which the row's values replace."""

import re
from collections.abc import Mapping
from typing import Final

from tasks.schema.errors import InvalidPayloadError

PLACEHOLDER: Final = re.compile(r"\{([^{}]+)\}")
"""A column's name in braces."""


def fill_prompt(prompt: str, values: Mapping[str, object]) -> str:
    """Return a prompt with its placeholders filled in.

    Raises:
        InvalidPayloadError: A value is missing or empty.
    """
    missing = [name for name in PLACEHOLDER.findall(prompt) if values.get(name) in (None, "")]
    if missing:
        raise InvalidPayloadError(
            [f"prompt: the row has no {', '.join('{' + name + '}' for name in missing)}"]
        )
    return PLACEHOLDER.sub(lambda match: str(values[match[1]]), prompt)
