"""The draft: the timeline that the agent edits and that a render turns into a clip.

Only the fields that docs/video-api.md lists are read (section "The draft"). A draft of any shape is
accepted: it is shown and checked, never refused.
"""

import base64
import json
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from worker.nemo.surrogates import whole_characters

_VIDEO, _AUDIO, _TITLE = 0, 1, 7
_LABELS: Mapping[int, str] = {_VIDEO: "Video", _AUDIO: "BGM", _TITLE: "Title"}
_MAX_NAME = 80
_PACKED = "z:"
_MS = 1000.0


@dataclass(frozen=True, slots=True)
class Draft:
    """One version of a draft.

    Attributes:
        raw: The JSON as received; an export sends it back unchanged.
    """

    raw: dict[str, Any]

    @classmethod
    def read(cls, found: object) -> Self:
        """Wrap the draft of a state response; anything but an object is an empty draft."""
        return cls(found if isinstance(found, dict) else {})

    @classmethod
    def unpack(cls, text: str) -> Self:
        """Read the result of ``pack``, or plain JSON. An empty text is an empty draft."""
        if text.startswith(_PACKED):
            text = zlib.decompress(base64.b85decode(text.removeprefix(_PACKED))).decode()
        return cls.read(json.loads(text or "{}"))

    def pack(self) -> str:
        """Compress the draft to a short text, for records that are kept for long."""
        # Plain ASCII, because names may contain unpaired surrogates.
        text = json.dumps(self.raw, separators=(",", ":"))
        return _PACKED + base64.b85encode(zlib.compress(text.encode("ascii"), 9)).decode()

    @property
    def is_ready(self) -> bool:
        """Whether it can be exported: at least one track has a segment."""
        return any(_segments(track) for track in self._tracks())

    @property
    def seconds(self) -> float:
        """Length in seconds: of the longest video track, or of any track if there is none."""
        tracks = list(self._tracks())
        videos = [track for track in tracks if _track_type(track) == _VIDEO]
        return max(map(_length, videos or tracks), default=0.0)

    def timeline(self) -> str:
        """Show the draft in one line: each track's type, names, length and volume."""
        shown = [f"{n}. {_show(track)}" for n, track in enumerate(self._tracks(), 1)]
        count = f"{len(shown)} track" + ("" if len(shown) == 1 else "s")
        return f"Timeline ({count})" + (f": {' '.join(shown)}" if shown else "")

    def _tracks(self) -> Iterator[Mapping[str, Any]]:
        return _objects(self.raw.get("t"))


def number_or_none(value: object) -> float | None:
    """Read a number, also from a string; None for anything else and for infinity."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _objects(found: object) -> Iterator[Mapping[str, Any]]:
    return (
        (item for item in found if isinstance(item, dict)) if isinstance(found, list) else iter(())
    )


def _segments(track: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(_objects(track.get("sg")))


def _metadata(track: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return _objects([segment.get("m") for segment in _segments(track)])


def _track_type(track: Mapping[str, Any]) -> int | None:
    number = number_or_none(track.get("tt"))
    return int(number) if number is not None and number in _LABELS else None


def _length(track: Mapping[str, Any]) -> float:
    """Length of a track in seconds: its segments follow one another."""
    lengths = (number_or_none(segment.get("d")) for segment in _segments(track))
    return sum(length for length in lengths if length is not None and length > 0) / _MS


def _show(track: Mapping[str, Any]) -> str:
    kind, length = _track_type(track), _length(track)
    label = "Track" if kind is None else _LABELS[kind]
    names = list(dict.fromkeys(filter(None, map(_name, _metadata(track)))))
    quoted = [f'"{name}"' if kind == _TITLE else name for name in names]
    notes = [f"0-{length:.2f}".rstrip("0").rstrip(".") + "s" if length else "empty"]
    notes += [f"{round(volume * 100)}%" for volume in _volumes(track)][:1]
    return label + (f": {', '.join(quoted)}" if quoted else "") + f" ({', '.join(notes)})"


def _name(metadata: Mapping[str, Any]) -> str | None:
    for key in ("name", "title", "text"):
        found = metadata.get(key)
        if isinstance(found, str) and found.strip():
            name = " ".join(whole_characters(found).split())
            return name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + "…"
    return None


def _volumes(track: Mapping[str, Any]) -> Iterator[float]:
    """Volumes of the segments that have one, from 0 to 1."""
    volumes = (number_or_none(metadata.get("volume")) for metadata in _metadata(track))
    return (volume for volume in volumes if volume is not None and 0 <= volume <= 1)
