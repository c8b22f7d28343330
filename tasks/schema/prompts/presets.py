"""Presets: prompt template, aspect and seconds, under a name or in a TOML file."""

import os.path
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tasks.schema.errors import InvalidPayloadError
from tasks.schema.image_job import DEFAULT_PROMPT, Aspect, Prompt

MAX_BYTES: Final = 100_000
"""The largest file that is read. A preset takes a few lines."""


@dataclass(frozen=True, slots=True)
class Preset:
    """Values for rows that have none of their own; None if the preset does not set a value."""

    name: str
    prompt: str | None = None
    aspect: Aspect | None = None
    seconds: float | None = None

    @property
    def row_defaults(self) -> dict[str, object]:
        """The preset's values, except the prompt, by the names of the fields of a row."""
        values = {"aspect": self.aspect, "seconds": self.seconds}
        return {name: value for name, value in values.items() if value is not None}


PRESETS: Final[Mapping[str, Preset]] = {
    preset.name: preset
    for preset in (
        # The default prompt.
        Preset("extend", DEFAULT_PROMPT),
        Preset(
            "product",
            "Slow push-in on the product, which stays sharp and centered; a soft light moves "
            "across its surface, and the background stays still",
            "1:1",
            6,
        ),
        Preset(
            "portrait",
            "Gentle push-in on the face; the person breathes and blinks naturally, hair moves "
            "slightly, and the features stay as they are",
            "9:16",
            6,
        ),
        Preset(
            "landscape",
            "Slow pan from left to right over the scene; clouds drift, water and leaves move "
            "slightly, and the horizon stays level",
            "16:9",
            10,
        ),
        Preset(
            "story",
            "Slow pull-out that reveals the whole scene; people and things in it move naturally, "
            "with smooth motion from the first frame to the last",
            "9:16",
            10,
        ),
    )
}
"""The presets that come with reelqueue, by name."""


class _File(BaseModel):
    """The content of a preset file. Its fields have the same meaning as those of a row."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    prompt: Prompt | None = None
    aspect: Aspect | None = None
    seconds: Annotated[float, Field(ge=1, le=60)] | None = None


def find_preset(text: str) -> Preset:
    """Return the preset with a name, or the one in a file.

    Raises:
        InvalidPayloadError: There is none, or the file is not a preset. The text says what to do.
    """
    known = PRESETS.get(text.strip().casefold())
    if known is not None:
        return known
    # Path.is_file raises for a text that is too long or holds a NUL.
    if not os.path.isfile(text):  # noqa: PTH113
        names = ", ".join(PRESETS)
        raise InvalidPayloadError(
            [f"preset: there is no preset and no file {text!r}. The presets are {names}"]
        )
    return _read(Path(text))


def _read(path: Path) -> Preset:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise _invalid(path, f"it has over {MAX_BYTES:,} bytes")
        found = _File.model_validate(tomllib.loads(content.decode("utf-8-sig")))
    except OSError as error:
        raise _invalid(path, f"it cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _invalid(path, "it is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise _invalid(path, f"it is not TOML: {error}") from None
    except ValidationError as error:
        problems = InvalidPayloadError.from_validation(error).problems
        raise InvalidPayloadError([f"preset {path}: {problem}" for problem in problems]) from None
    if not found.model_fields_set:
        raise _invalid(path, "it sets none of prompt, aspect and seconds")
    return Preset(path.stem, found.prompt, found.aspect, found.seconds)


def _invalid(path: Path, why: str) -> InvalidPayloadError:
    example = '`prompt = "Slow push-in on {name}"`, `aspect = "9:16"`, `seconds = 6`'
    return InvalidPayloadError([f"preset {path}: {why}. A preset is a TOML file such as {example}"])
