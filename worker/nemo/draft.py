"""The draft: the timeline that the agent edits and the render turns into a clip.

Only what the contract names is read (its section "The draft"), and liberally: a draft is shown
and judged, never refused, whatever shape it has.
"""

import base64
import json
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

_VIDEO, _AUDIO, _TITLE = 0, 1, 7
_LABELS: Mapping[int, str] = {_VIDEO: "Video", _AUDIO: "BGM", _TITLE: "Title"}
_MAX_NAME = 80
_PACKED = "z:"
_MS = 1000.0


@dataclass(frozen=True, slots=True)
class Draft:
    """One version of a draft.

    Attributes:
        raw: The JSON as it came; what an export sends back.
    """

    raw: dict[str, Any]

    @classmethod
    def read(cls, found: object) -> Self:
        """Wrap what a state reply holds; anything but an object is an empty draft."""
        return cls(found if isinstance(found, dict) else {})

    @classmethod
    def unpack(cls, text: str) -> Self:
        """Read what ``pack`` wrote, or plain JSON. An empty text is an empty draft."""
        if text.startswith(_PACKED):
            text = zlib.decompress(base64.b85decode(text.removeprefix(_PACKED))).decode()
        return cls.read(json.loads(text or "{}"))

    def pack(self) -> str:
        """The draft as a short text, for records that are kept for long."""
        text = json.dumps(self.raw, ensure_ascii=False, separators=(",", ":"))
        return _PACKED + base64.b85encode(zlib.compress(text.encode(), 9)).decode()

    @property
    def is_ready(self) -> bool:
        """Whether it can be exported: at least one track has a segment."""
        return any(_segments(track) for track in self._tracks())

    @property
    def seconds(self) -> float:
        """Length in seconds: the longest video track; without one, the longest track."""
        tracks = list(self._tracks())
        videos = [track for track in tracks if _kind(track) == _VIDEO]
        return max(map(_span, videos or tracks), default=0.0)

    def timeline(self) -> str:
        """Show it in one line: each track's kind, name, span and volume."""
        shown = [f"{n}. {_show(track)}" for n, track in enumerate(self._tracks(), 1)]
        count = f"{len(shown)} track" + ("" if len(shown) == 1 else "s")
        return f"Timeline ({count})" + (f": {' '.join(shown)}" if shown else "")

    def _tracks(self) -> Iterator[Mapping[str, Any]]:
        return _objects(self.raw.get("t"))


def _objects(found: object) -> Iterator[Mapping[str, Any]]:
    return (
        (item for item in found if isinstance(item, dict)) if isinstance(found, list) else iter(())
    )


def _segments(track: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(_objects(track.get("sg")))


def _details(track: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return _objects([segment.get("m") for segment in _segments(track)])


def _kind(track: Mapping[str, Any]) -> int | None:
    number = _number(track.get("tt"))
    return int(number) if number is not None and number in _LABELS else None


def _span(track: Mapping[str, Any]) -> float:
    """Length of a track in seconds: its segments follow one another."""
    lengths = (_number(segment.get("d")) for segment in _segments(track))
    return sum(length for length in lengths if length is not None and length > 0) / _MS


def _show(track: Mapping[str, Any]) -> str:
    kind = _kind(track)
    label = "Track" if kind is None else _LABELS[kind]
    names = list(dict.fromkeys(filter(None, map(_name, _details(track)))))
    quoted = [f'"{name}"' if kind == _TITLE else name for name in names]
    notes = [f"0-{_span(track):.2f}".rstrip("0").rstrip(".") + "s" if _span(track) else "empty"]
    notes += [f"{round(volume * 100)}%" for volume in _volumes(track)][:1]
    return label + (f": {', '.join(quoted)}" if quoted else "") + f" ({', '.join(notes)})"


def _name(details: Mapping[str, Any]) -> str | None:
    for key in ("name", "title", "text"):
        found = details.get(key)
        if isinstance(found, str) and found.strip():
            name = " ".join(found.split())
            return name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + "…"
    return None


def _volumes(track: Mapping[str, Any]) -> Iterator[float]:
    """Volumes of the segments that name one, from 0 to 1."""
    volumes = (_number(details.get("volume")) for details in _details(track))
    return (volume for volume in volumes if volume is not None and 0 <= volume <= 1)


def _number(found: object) -> float | None:
    """Read a number, also from a string; None for anything else, infinities included."""
    if isinstance(found, bool) or not isinstance(found, int | float | str):
        return None
    try:
        number = float(found)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
