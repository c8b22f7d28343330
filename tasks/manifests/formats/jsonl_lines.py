"""Lines of a JSONL manifest: one JSON object each."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.manifests.lines import NOT_UTF8, ManifestLine, is_text, open_text


def read_jsonl(source: Path) -> Iterator[ManifestLine]:
    """Read the lines of a JSONL file that are not blank.

    Raises:
        ManifestError: The file cannot be opened.
    """
    with open_text(source) as file:
        for number, text in enumerate(file, start=1):
            if text.strip():
                yield _line(number, text.strip())


def _line(number: int, text: str) -> ManifestLine:
    if not is_text(text):
        return ManifestLine(number, raw=text, error=NOT_UTF8)
    try:
        fields: Any = json.loads(text, object_pairs_hook=_unique_fields)
    except (ValueError, RecursionError) as error:
        return ManifestLine(number, raw=text, error=f"the line is not JSON: {error}")
    if not isinstance(fields, dict):
        return ManifestLine(number, raw=text, error="the line is not a JSON object")
    return ManifestLine(number, fields, fields)


def _unique_fields(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"it has a field twice: {', '.join(map(repr, repeated))}")
    return fields
