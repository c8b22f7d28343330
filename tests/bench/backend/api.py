"""What the backend answers: the calls that a job needs (docs/video-api.md, "Calls")."""

import json
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tests.bench.backend.clips import SECONDS

CREDITS: Final = 10**9
PRICE: Final = 100
DRAFT: Final = {
    "t": [
        {"tt": 0, "sg": [{"d": SECONDS * 1000, "m": {"name": "clip"}}]},
        {"tt": 1, "sg": [{"d": SECONDS * 1000, "m": {"name": "Lo-fi", "volume": 0.35}}]},
    ]
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: its body and media type."""

    body: bytes
    media_type: bytes = b"application/json"
    status: bytes = b"200 OK"


NOT_FOUND: Final = Answer(b'{"code":404,"message":"not found"}', status=b"404 Not Found")


@dataclass(slots=True)
class Renders:
    """The renders: how often each was polled, and when last (seconds of the event loop's clock)."""

    polls: dict[str, int] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)


class Api:
    """The state of the backend, and its answers.

    Args:
        clip: The content of the clip that each render becomes.
        rendering_polls: How many polls of a render are answered with "processing" first.

    Attributes:
        calls: How often each call was made.
        gaps: Seconds between a render's submission and its first poll, and between its polls.
        streams: Streams that are open.
        most_streams: The most streams that were open at the same time.
        url: The address of the backend.
    """

    def __init__(self, clip: bytes, rendering_polls: int) -> None:
        self.calls: Counter[str] = Counter()
        self.gaps = array("d")
        self.streams = self.most_streams = 0
        self.url = ""
        self._clip = Answer(clip, b"video/mp4")
        self._rendering_polls = rendering_polls
        self._sessions: dict[str, int] = {}
        self._renders = Renders()

    def answer(self, method: str, path: str, body: bytes, now: float) -> Answer | None:
        """Answer a call; None for a message, which is answered with a stream."""
        call, _, name = _call(method, path)
        self.calls[call] += 1
        match call:
            case "message":
                return None
            case "session":
                session = f"ses_{len(self._sessions):08}"
                self._sessions[session] = 0
                return _envelope({"task_id": f"tsk_{session[4:]}", "session_id": session})
            case "claim":
                return _envelope({"claim_token": "clm_measured"})
            case "upload":
                return _envelope({"files": []})
            case "state":
                return self._state(name)
            case "credits":
                left = CREDITS - PRICE * self.calls["message"]
                return _envelope({"available": left, "frozen": 0, "total": left})
            case "export":
                return self._export(json.loads(body)["id"], now)
            case "poll":
                return self._poll(name, now)
            case "download":
                return self._clip
            case "counts":
                return _json(self._counts())
            case _:
                return NOT_FOUND

    def open_stream(self, body: bytes) -> None:
        """Accept a message."""
        self.streams += 1
        self.most_streams = max(self.most_streams, self.streams)
        session = json.loads(body)["session_id"]
        self._sessions[session] = self._sessions.get(session, 0) + 1

    def close_stream(self) -> None:
        """End a message's stream."""
        self.streams -= 1

    def _state(self, session: str) -> Answer:
        messages = self._sessions.get(session)
        if messages is None:
            return NOT_FOUND
        media = [{"id": f"gm_{number}"} for number in range(messages)]
        draft = DRAFT if messages else {}
        return _envelope({"state": {"draft": draft, "video_infos": [], "generated_media": media}})

    def _export(self, render: str, now: float) -> Answer:
        self._renders.polls[render] = 0
        self._renders.seen[render] = now
        return _json({"id": render, "status": "pending"})

    def _poll(self, render: str, now: float) -> Answer:
        polls = self._renders.polls.get(render)
        if polls is None:
            return NOT_FOUND
        self.gaps.append(now - self._renders.seen[render])
        self._renders.seen[render] = now
        self._renders.polls[render] = polls + 1
        if polls < self._rendering_polls:
            return _json({"id": render, "status": "processing"})
        output = {"url": f"{self.url}/clips/{render}", "duration": SECONDS}
        return _json({"id": render, "status": "completed", "output": output})

    def _counts(self) -> dict[str, Any]:
        return {
            "calls": dict(self.calls),
            "streams": self.streams,
            "most_streams": self.most_streams,
            "gaps": self.gaps.tolist(),
        }


def event(**fields: object) -> bytes:
    """Encode an event of a stream."""
    return b"data: " + json.dumps({**fields, "author": "nemo_agent"}).encode() + b"\n\n"


def _content(role: str, *parts: Mapping[str, object]) -> bytes:
    return event(content={"role": role, "parts": parts})


_TOOL: Final = {"id": "fc-1", "name": "generate_video"}
OPENING: Final = b"".join(
    (
        _content("model", {"text": "The user wants motion.", "thought": True}),
        _content("model", {"text": "I will animate the picture with a slow move."}),
        _content("model", {"functionCall": {**_TOOL, "args": {"duration": SECONDS}}}),
    )
)
CLOSING: Final = b"".join(
    (
        _content("user", {"functionResponse": {**_TOOL, "response": {"status": "ok"}}}),
        event(actions={"stateDelta": {"draft": DRAFT}}),
        _content("model", {"text": f"Your clip is ready: {SECONDS} seconds with Lo-fi music."}),
    )
)
HEARTBEAT: Final = b"data: heartbeat\n\n"

_PREFIXES: Final = (
    ("POST /run_sse", "message"),
    ("GET /api/render/proxy/lambda/", "poll"),
    ("POST /api/render/proxy/lambda", "export"),
    ("GET /api/state/", "state"),
    ("GET /clips/", "download"),
    ("GET /api/render/proxy/", "download"),
    ("POST /api/upload-video/", "upload"),
    ("POST /api/tasks/", "session"),
    ("POST /api/auth/claim-token", "claim"),
    ("GET /api/credits/", "credits"),
    ("GET /counts", "counts"),
)


def _call(method: str, path: str) -> tuple[str, str, str]:
    """Return the name of a call, and the session or the render in its path."""
    line = f"{method} {path}"
    for prefix, call in _PREFIXES:
        if line.startswith(prefix):
            rest = path.removesuffix("/latest")
            return call, prefix, rest.rpartition("/")[2]
    return "unknown", "", ""


def _json(found: object) -> Answer:
    return Answer(json.dumps(found, separators=(",", ":")).encode())


def _envelope(data: Mapping[str, object]) -> Answer:
    return _json({"code": 0, "message": "success", "data": data})
