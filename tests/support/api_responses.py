"""Responses of the video API: recordings of it, and the shapes that tests build."""

import json
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parents[1] / "fixtures"
STREAMS = {path.stem: path.read_bytes() for path in sorted((FIXTURES / "run_sse").glob("*.sse"))}
"""Recorded streams of a message, by name."""


def recorded_body(name: str) -> bytes:
    """Return the recorded body of a response."""
    return (FIXTURES / "api" / name).read_bytes()


def recorded(name: str) -> Any:
    """Return the recorded JSON of a response."""
    return json.loads(recorded_body(name))


def envelope(**data: Any) -> dict[str, Any]:
    """Build the envelope of a successful call."""
    return {"code": 0, "message": "success", "data": data}


def state_envelope(**state: Any) -> dict[str, Any]:
    """Build the response to a state call."""
    return envelope(state=state)


def text_event(text: str, **fields: Any) -> dict[str, Any]:
    """Build an event of a stream with one text."""
    return {"content": {"parts": [{"text": text}], "role": "model"}, **fields}


def sse(*objects: Any) -> bytes:
    """Encode objects as server-sent events."""
    return b"".join(b"data: " + json.dumps(found).encode() + b"\n\n" for found in objects)


HELLO = sse(text_event("hello"))
