"""The sample photos, the columns of each, and the names of images in a text."""

import re
import shlex
from collections.abc import Mapping, Sequence
from os.path import isfile  # Path.is_file raises for long names in some versions of Python
from pathlib import Path
from typing import Final

from tasks.schema.addresses import is_url
from worker.media.file_types import FILE_SUFFIXES

ROOT: Final = Path(__file__).resolve().parents[2]
SAMPLES: Final = ROOT / "samples"

REQUESTS: Final[Mapping[str, Mapping[str, object]]] = {
    "astronaut.jpg": {
        "prompt": 'A slow push-in on the face, with the title "Ready for launch"',
        "aspect": "16:9",
        "seconds": 6,
    },
    "cat.jpg": {"prompt": "Pan left, calm and close", "aspect": "9:16", "seconds": 5},
    "coffee.jpg": {"prompt": "A gentle pull-out from the cup", "aspect": "1:1", "seconds": 5},
    "deep-field.jpg": {
        "prompt": 'Drift right through the galaxies, title "Ten billion years"',
        "aspect": "16:9",
        "seconds": 8,
    },
    "rocket.jpg": {"prompt": "Tilt up along the flame", "aspect": "9:16", "seconds": 5},
}
"""The columns of each sample in the demo's manifest."""


def sample_images() -> list[str]:
    """Return the paths of the sample photos."""
    return sorted(map(str, SAMPLES.glob("*.jpg")))


def request_for(path: Path) -> Mapping[str, object]:
    """Return the columns of a sample in the manifest; none for another photo."""
    return REQUESTS.get(path.name, {}) if path.parent == SAMPLES else {}


def named_images(text: str) -> list[str]:
    """Return the images that a text names, separated by spaces or in quotes.

    The name of a file may have spaces: a name is as many words as possible that are an existing
    file. If no words are, the name ends at the first suffix of an image.
    """
    quoted = _in_quotes(text)
    if quoted is not None:
        return quoted
    words = list(re.finditer(r"\S+", text))
    images = []
    while words:
        ends = range(len(words), 0, -1)
        files = (end for end in ends if isfile(_between(text, words[:end])))  # noqa: PTH113
        last = next(files, None) or _end_of_name([word[0] for word in words])
        images.append(_between(text, words[:last]))
        del words[:last]
    return images


def _end_of_name(words: Sequence[str]) -> int:
    """Return how many words make up the name of a missing file."""
    if is_url(words[0]):
        return 1
    suffixed = (n for n, word in enumerate(words, 1) if Path(word).suffix.lower() in FILE_SUFFIXES)
    return next(suffixed, 1)


def _in_quotes(text: str) -> list[str] | None:
    """Return the names in a text with quotes, if all of them are files."""
    if not {"'", '"', "\\"} & set(text) or isfile(text):  # noqa: PTH113
        return None
    try:
        names = shlex.split(text)
    except ValueError:
        return None
    return names if names and all(map(isfile, names)) else None


def _between(text: str, words: Sequence[re.Match[str]]) -> str:
    return text[words[0].start() : words[-1].end()]
