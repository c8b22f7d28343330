"""Prompt templates: prompts with ``{column}`` placeholders, which the row's values replace."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from tasks.schema.errors import InvalidPayloadError

PLACEHOLDER: Final = re.compile(r"\{([^{}]+)\}")
"""A column's name in braces."""


def fill_prompt(prompt: str, values: Mapping[str, object]) -> str:
    """Return a prompt with its placeholders filled in.

    Raises:
        InvalidPayloadError: A value is missing or empty.
    """
    texts, names = _split(prompt)
    found = [values.get(name) for name in names]
    missing = [name for name, value in zip(names, found, strict=True) if value in (None, "")]
    if missing:
        raise InvalidPayloadError(
            [f"prompt: the row has no {', '.join('{' + name + '}' for name in missing)}"]
        )
    return texts[0] + "".join(
        f"{value}{text}" for value, text in zip(found, texts[1:], strict=True)
    )


@lru_cache(maxsize=8)
def _split(prompt: str) -> tuple[list[str], list[str]]:
    """Return the texts around the placeholders, and their names. All rows have one prompt."""
    parts = PLACEHOLDER.split(prompt)
    return parts[::2], parts[1::2]
