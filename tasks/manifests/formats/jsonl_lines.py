"""Lines of a JSONL manifest: one JSON object each."""

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

from tasks.manifests.formats.text_files import LongLineError, TextFile
from tasks.manifests.lines import ManifestLine, is_text


def read_jsonl(source: TextFile) -> Iterator[ManifestLine]:
    """Read the lines of a JSONL file that are not blank.

    Raises:
        ManifestError: The file cannot be read.
    """
    with source.open() as lines:
        for number in count(1):
            try:
                text = next(lines, None)
            except LongLineError as error:
                yield ManifestLine(number, error=f"the line cannot be read: {error}")
                continue
            if text is None:
                return
            if text.strip():
                yield _line(number, text.strip(), source)


def _line(number: int, text: str, source: TextFile) -> ManifestLine:
    if not is_text(text):
        return ManifestLine(number, raw=text, error=source.not_text)
    try:
        fields: Any = json.loads(text, object_pairs_hook=unique_fields)
    except (ValueError, RecursionError) as error:
        return ManifestLine(number, raw=text, error=f"the line is not JSON: {error}")
    if not isinstance(fields, dict):
        return ManifestLine(number, raw=text, error="the line is not a JSON object")
    return ManifestLine(number, fields, fields)


def unique_fields(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the fields of a JSON object.

    Raises:
        ValueError: It has a field twice.
    """
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"it has a field twice: {', '.join(map(repr, repeated))}")
    return fields
