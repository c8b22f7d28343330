"""The template of clip names: its placeholders, and the check of a template."""

import re
from typing import Final

PLACEHOLDER: Final = re.compile(r"\{(?P<field>[a-z_]+|data\.[^{}:]+)(?::0(?P<width>[1-9]))?\}")
"""A placeholder: ``{row}``, ``{row:04}`` with leading zeros, ``{data.COLUMN}``."""
FIELDS: Final = ("row", "image", "key", "job_id", "batch", "prompt", "aspect")
"""The fields that a placeholder may name, in addition to the caller's own columns."""


def check_template(template: str) -> None:
    """Check that a template has only known placeholders and no slash.

    Raises:
        ValueError: The text says what is wrong.
    """
    for placeholder in PLACEHOLDER.finditer(template):
        field = placeholder["field"]
        if field not in FIELDS and not field.startswith("data."):
            raise ValueError(f"has no field {{{field}}}: use {', '.join(FIELDS)} or data.COLUMN")
    if re.search(r"[{}/\\]", PLACEHOLDER.sub("", template)):
        raise ValueError("has an unmatched brace or a slash")
