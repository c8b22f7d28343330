"""The sample photos, and what the demo asks for each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

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
    """Return what to ask for a photo; nothing for one that is no sample."""
    return REQUESTS.get(path.name, {}) if path.parent == SAMPLES else {}
