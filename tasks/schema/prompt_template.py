"""Prompt templates: a prompt in which each `{column}` stands for a value of the row."""

import re
from collections.abc import Mapping
from typing import Final

from tasks.schema.errors import InvalidPayloadError

PLACEHOLDER: Final = re.compile(r"\{([^{}]+)\}")
"""A placeholder: the name of a column in braces."""


def fill_prompt(prompt: str, given: Mapping[str, object]) -> str:
    """A prompt with each ``{column}`` filled in.

    Raises:
        InvalidPayloadError: A column is missing or empty.
    """
    missing = [name for name in PLACEHOLDER.findall(prompt) if given.get(name) in (None, "")]
    if missing:
        raise InvalidPayloadError(
            [f"prompt: the row has no {', '.join('{' + name + '}' for name in missing)}"]
        )
    return PLACEHOLDER.sub(lambda place: str(given[place[1]]), prompt)
