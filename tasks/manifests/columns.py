"""Columns of manifests, and the fields of a job that they stand for.

Source: docs/usage.md, "Manifests".
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tasks.manifests.lines import REJECTS_COLUMNS, ManifestError, listed, strip_cell
from tasks.schema.image_job import ImageJob
from tasks.schema.prompt_template import PLACEHOLDER

FIELDS: Final = tuple(
    name
    for name in ImageJob.model_fields
    if name not in {"version", "media", "data", "attach_names"}
)
"""Fields of a job that a column can have. Other columns are data of the caller."""

SYNONYMS: Final = {
    "image": frozenset(
        {
            *("image_url", "photo", "picture", "file", "filename", "path", "url"),
            *("bild", "imagen", "图片"),
        }
    ),
    "prompt": frozenset({"text", "instruction", "instructions", "description", "提示词"}),
}
_LOOKS_LIKE_IMAGE: Final = re.compile(
    r"https?://\S+|.+\.(jpe?g|png|webp|gif|hei[cf]|avif|tiff?|bmp)", re.IGNORECASE
)
_SEPARATORS: Final = re.compile(r"[\s-]+")
_MAX_KEPT: Final = 1000
"""The most columns, and the most sets of columns, that are remembered."""


class ColumnError(ValueError):
    """The fields of some columns cannot be determined. The text says why."""


@dataclass(frozen=True, slots=True)
class ColumnChoices:
    """What the caller chose for the columns.

    Attributes:
        image: The column of the images.
        prompt: The column of the prompts.
        template: The prompt for rows without one. With it, no synonym is taken for the prompt.
        defaults: Values of other fields, such as the aspect, for rows without them.
        synonyms: Whether synonyms are accepted: in the files of people, not in rows of a program.
    """

    image: str | None = None
    prompt: str | None = None
    template: str | None = None
    defaults: Mapping[str, object] = field(default_factory=dict)
    synonyms: bool = True


@dataclass(slots=True)
class Columns:
    """The columns of a manifest. Rows of JSON can each have others.

    Attributes:
        used: The columns that were used, and the field of each; empty for a column that only the
            prompt names.
        ignored: The other columns. They are returned in the results.
        notes: Messages for people about columns that were not used as they may expect.
    """

    choices: ColumnChoices = field(default_factory=ColumnChoices)
    used: dict[str, str] = field(default_factory=dict)
    ignored: dict[str, None] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    _fields: dict[tuple[str, ...], dict[str, str]] = field(default_factory=dict)

    def fields_of(self, names: Iterable[str]) -> Mapping[str, str]:
        """Return the field of each column that has one, by the name of the column as written.

        Raises:
            ColumnError: No column or several can be the image's, or a name comes twice.
        """
        key = tuple(names)
        if key not in self._fields:
            if len(self._fields) >= _MAX_KEPT:
                self._fields.clear()
            self._fields[key] = self._find(key)
            self._note(key, self._fields[key])
        return self._fields[key]

    def has_image(self, names: Sequence[str]) -> bool:
        """Return whether one of these columns can be the image's."""
        known = set(map(_folded, names))
        chosen = self.choices.image
        if chosen is not None:
            return chosen in names or _folded(chosen) in known
        wanted = {"image", *SYNONYMS["image"]} if self.choices.synonyms else {"image"}
        return not wanted.isdisjoint(_SEPARATORS.sub("_", name) for name in known)

    def as_dict(self) -> dict[str, list[str]]:
        """Return the public JSON form."""
        return {"used": list(self.used), "ignored": list(self.ignored)}

    def _find(self, names: Sequence[str]) -> dict[str, str]:
        known: dict[str, str] = {}
        repeated: dict[str, None] = {}
        for name in filter(None, names):
            folded = _folded(name)
            if folded in known:
                repeated[folded] = None
            known.setdefault(folded, name)
        if repeated:
            raise ColumnError(f"it names a column twice: {listed(map(repr, repeated))}")
        found: dict[str, str] = {}
        for job_field, chosen in (("image", self.choices.image), ("prompt", self.choices.prompt)):
            if chosen is not None:
                found[_chosen(chosen, job_field, known)] = job_field
        for job_field in FIELDS:
            own = known.get(job_field)
            if job_field not in found.values() and own is not None and own not in found:
                found[own] = job_field
        for job_field, synonyms in SYNONYMS.items():
            if job_field not in found.values() and self._takes_synonyms(job_field):
                matches = [
                    name
                    for folded, name in known.items()
                    if name not in found and _SEPARATORS.sub("_", folded) in synonyms
                ]
                if len(matches) > 1:
                    raise ColumnError(_ambiguous(job_field, matches, known))
                found.update(dict.fromkeys(matches, job_field))
        if "image" not in found.values():
            raise ColumnError(_without_image(known))
        return found

    def _takes_synonyms(self, job_field: str) -> bool:
        return self.choices.synonyms and (job_field != "prompt" or self.choices.template is None)

    def _note(self, names: Sequence[str], found: Mapping[str, str]) -> None:
        in_template = set(PLACEHOLDER.findall(self.choices.template or ""))
        for name in filter(None, names):
            if name in REJECTS_COLUMNS or len(self.used) + len(self.ignored) >= _MAX_KEPT:
                continue
            if name in found or name in in_template:
                self.used.setdefault(name, found.get(name, ""))
                self.ignored.pop(name, None)
            elif name not in self.used:
                self.ignored[name] = None
            if name not in found and self._was_synonym(name, found):
                self.notes[
                    f'The column "{name}" is not the prompt, because one is given for rows without '
                    f"their own. It fills in {{{name}}}; --prompt-column {name!r} makes it the "
                    f"prompt."
                ] = None

    def _was_synonym(self, name: str, found: Mapping[str, str]) -> bool:
        return (
            self.choices.synonyms
            and self.choices.template is not None
            and "prompt" not in found.values()
            and _SEPARATORS.sub("_", _folded(name)) in SYNONYMS["prompt"]
        )


def looks_like_row(cells: Sequence[str]) -> bool:
    """Return whether cells are those of a row, with an image, and not names of columns."""
    return any(_LOOKS_LIKE_IMAGE.fullmatch(strip_cell(cell)) for cell in cells)


def header_for(cells: Sequence[str], delimiter: str) -> str:
    """Return a header line that a table without one could have."""
    names = []
    for number, cell in enumerate(cells, start=1):
        if "image" not in names and looks_like_row([cell]):
            names.append("image")
        elif "prompt" not in names and " " in cell.strip():
            names.append("prompt")
        else:
            names.append(f"column{number}")
    return delimiter.join(names)


def check_header(
    source: object, columns: Columns, names: Sequence[str], delimiter: str = ","
) -> None:
    """Check that a table has a header from which the fields of its columns can be determined.

    Raises:
        ManifestError: They cannot be, or the header is missing.
    """
    if not any(names):
        raise ManifestError(
            f"{source} has no header line. Its first line must name the columns, as in "
            f"{delimiter.join(('image', 'prompt'))!r}."
        )
    try:
        columns.fields_of(names)
    except ColumnError as error:
        if looks_like_row(names):
            raise ManifestError(
                f"{source} has no header line: its first line holds values, not names of columns "
                f"({listed(map(repr, filter(None, names)))}). Put a line such as "
                f"{header_for(names, delimiter)!r} before it."
            ) from None
        raise ManifestError(f"{source}: {error}.") from None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", strip_cell(name)).casefold()


def _chosen(chosen: str, job_field: str, known: Mapping[str, str]) -> str:
    name = chosen if chosen in known.values() else known.get(_folded(chosen))
    if name is None:
        raise ColumnError(
            f"there is no column {chosen!r} for --{job_field}-column. The columns are "
            f"{_listed(known)}"
        )
    return name


def _ambiguous(job_field: str, matches: Iterable[str], known: Mapping[str, str]) -> str:
    others = " Or give one prompt for all rows with --prompt." if job_field == "prompt" else ""
    return (
        f"several columns can be the {job_field}: {', '.join(map(repr, matches))}. Choose one with "
        f"--{job_field}-column.{others} The columns are {_listed(known)}"
    )


def _without_image(known: Mapping[str, str]) -> str:
    return (
        f'there is no column "image", and none of its other names '
        f"({', '.join(sorted(SYNONYMS['image']))}). The columns are {_listed(known)}. Rename one "
        f"to image, or choose one with --image-column"
    )


def _listed(known: Mapping[str, str]) -> str:
    return listed(map(repr, known.values())) or "none"
