"""What the agent says while it works: ADK events, in the shapes of a recorded server."""

import json
import time
import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sandbox.state.projects import MUSIC, Clip

HEARTBEATS = (b"data: heartbeat\n\n", b"data:\n\n", b"event: heartbeat\n\n", b": heartbeat\n\n")

_AUTHOR = "nemo_agent"


class ReplyStyle(StrEnum):
    """How a message turns out, as its stream tells it."""

    PLAIN = "plain"
    GUI = "gui"
    TRAILING = "trailing"
    SILENT = "silent"
    QUESTION = "question"


class DraftStage(StrEnum):
    """What has happened to the draft by then."""

    RAW = "raw"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class TimedEvent:
    """A moment of a stream.

    Attributes:
        share: When, as a share (0-1) of the stream's length.
        data: What is sent.
        stage: What becomes visible in the draft just before.
    """

    share: float
    data: bytes
    stage: DraftStage | None = None


class EventWriter:
    """The events of one message."""

    def __init__(self) -> None:
        self._invocation = f"e-{uuid.uuid4().hex[:8]}"

    def beats(self, style: ReplyStyle, clip: Clip) -> list[TimedEvent]:
        """The whole story of a message.

        Args:
            style: How it turns out.
            clip: What it is about.

        Returns:
            Beats in order of time; the last one is at the end of the stream.
        """
        opening = [
            TimedEvent(0.0, self._thought(f"The user wants {clip.seconds:g} seconds of motion."))
        ]
        if style is not ReplyStyle.SILENT:
            opening += self._spoken(0.02, ("I will ", "animate the ", "picture with a slow move."))
        if style is ReplyStyle.QUESTION:
            asked = "Which length do you want: 5, 10 or 15 seconds?"
            return [*opening, TimedEvent(1.0, self._text(asked))]
        work = self._work(clip, spoken=style is not ReplyStyle.SILENT)
        return [*opening, *work, *self._closing(style, clip)]

    def error(self, *, raw: bool) -> bytes:
        """A crash behind the stream; raw is the older form, which is not JSON."""
        message = "render backend unavailable"
        if raw:
            return b'data: {"error": "RuntimeError: the "render" backend\nis unavailable"}\n\n'
        details = {
            "error_type": "RuntimeError",
            "error_message": message,
            "timestamp": time.time(),
        }
        told = {"error": f"RuntimeError: {message}", "error_details": details}
        return f"data: {json.dumps(told)}\n\n".encode()

    def quota(self) -> bytes:
        """A failure on the model's side."""
        return self._event({"errorCode": "RESOURCE_EXHAUSTED", "errorMessage": "Out of quota"})

    def _work(self, clip: Clip, *, spoken: bool) -> list[TimedEvent]:
        aim = {"prompt": clip.name, "duration": round(clip.seconds)}
        editing: list[dict[str, Any]] = [{"text": "Adding music."}] if spoken else []
        editing.append(_call("fc-2", "edit_multitrack_draft", {"bgm": MUSIC}))
        raw_draft = {"t": [{"tt": 0, "sg": [{"d": round(clip.seconds * 1000)}]}]}
        return [
            TimedEvent(
                0.08,
                self._content(
                    "model",
                    [_call("fc-1", "generate_video", aim)],
                    {"longRunningToolIds": ["fc-1"]},
                ),
            ),
            TimedEvent(
                0.6, self._content("user", [_response("fc-1", "generate_video")]), DraftStage.RAW
            ),
            TimedEvent(0.62, self._content("model", editing)),
            TimedEvent(
                0.9,
                self._content("user", [_response("fc-2", "edit_multitrack_draft")]),
                DraftStage.FINISHED,
            ),
            TimedEvent(0.92, self._event({}, {"draft": raw_draft})),
        ]

    def _closing(self, style: ReplyStyle, clip: Clip) -> list[TimedEvent]:
        ready = f"Your clip is ready: {clip.seconds:g} seconds with {MUSIC} music."
        match style:
            case ReplyStyle.SILENT:
                return []
            case ReplyStyle.GUI:
                told = (
                    f"{ready} Click the Export button to download it, or open the Timeline panel "
                    "to preview in timeline. 点击“导出”按钮即可下载。"
                )
                return [TimedEvent(1.0, self._text(told))]
            case ReplyStyle.TRAILING:
                trouble = "I encountered a temporary issue. Please try again later."
                return [TimedEvent(0.98, self._text(ready)), TimedEvent(1.0, self._text(trouble))]
            case _:
                return [TimedEvent(1.0, self._text(ready))]

    def _spoken(self, share: float, pieces: tuple[str, ...]) -> list[TimedEvent]:
        partial = {"partial": True}
        told = [
            TimedEvent(share, self._content("model", [{"text": piece}], partial))
            for piece in pieces
        ]
        return [*told, TimedEvent(share + 0.02, self._text("".join(pieces)))]

    def _thought(self, text: str) -> bytes:
        return self._content("model", [{"text": text, "thought": True}], {"partial": True})

    def _text(self, text: str) -> bytes:
        return self._content("model", [{"text": text}])

    def _content(
        self, role: str, parts: list[dict[str, Any]], more: dict[str, Any] | None = None
    ) -> bytes:
        return self._event({"content": {"parts": parts, "role": role}, **(more or {})})

    def _event(self, told: dict[str, Any], state: dict[str, Any] | None = None) -> bytes:
        event = {
            **told,
            "invocationId": self._invocation,
            "author": _AUTHOR,
            "actions": {
                "stateDelta": state or {},
                "artifactDelta": {},
                "requestedAuthConfigs": {},
                "requestedToolConfirmations": {},
            },
            "nodeInfo": {"path": ""},
            "id": str(uuid.uuid4()),
            "timestamp": time.time(),
        }
        text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        return f"data: {text}\n\n".encode()


def _call(identifier: str, name: str, args: dict[str, Any]) -> dict[str, Any]:
    return {"functionCall": {"id": identifier, "args": args, "name": name}}


def _response(identifier: str, name: str) -> dict[str, Any]:
    return {"functionResponse": {"id": identifier, "name": name, "response": {"status": "ok"}}}
