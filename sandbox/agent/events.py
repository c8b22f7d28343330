"""The events of a message's stream: ADK events in the forms that were recorded of a real server.

Source: docs/video-api.md, "The message stream".
"""

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
    """What the agent writes at the end of a message's stream.

    PLAIN: that the clip is ready. GUI: also instructions to click buttons. TRAILING: also a false
    report of an error. SILENT: no text at all. QUESTION: only a question, and there is no clip.
    """

    PLAIN = "plain"
    GUI = "gui"
    TRAILING = "trailing"
    SILENT = "silent"
    QUESTION = "question"


class DraftStage(StrEnum):
    """The stages in which a clip appears in the draft."""

    RAW = "raw"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class TimedEvent:
    """An event with the time at which it is sent.

    Attributes:
        share: The time as a share (0-1) of the stream's duration.
        data: The bytes to send.
        stage: The stage that the draft reaches right before the event.
    """

    share: float
    data: bytes
    stage: DraftStage | None = None


class EventWriter:
    """Writes the events of one message."""

    def __init__(self) -> None:
        self._invocation = f"e-{uuid.uuid4().hex[:8]}"

    def events(self, style: ReplyStyle, clip: Clip) -> list[TimedEvent]:
        """Return all events of a message that makes a clip, in order of time.

        The last event comes at the end of the stream.
        """
        thought = {"text": f"The user wants {clip.seconds:g} seconds of motion.", "thought": True}
        opening = [TimedEvent(0.0, self._content("model", [thought], {"partial": True}))]
        if style is ReplyStyle.SILENT:
            return [*opening, *self._work(clip, [])]
        pieces = ("I will ", "animate the ", "picture with a slow move.")
        opening += self._text_in_pieces(0.02, pieces)
        if style is ReplyStyle.QUESTION:
            question = "Which length do you want: 5, 10 or 15 seconds?"
            return [*opening, TimedEvent(1.0, self._text(question))]
        work = self._work(clip, [{"text": "Adding music."}])
        return [*opening, *work, *self._closing(style, clip)]

    def error(self, *, raw: bool) -> bytes:
        """Return the event of a crash; if raw, in the form of older servers, which is not JSON."""
        message = "render backend unavailable"
        if raw:
            return b'data: {"error": "RuntimeError: the "render" backend\nis unavailable"}\n\n'
        details = {
            "error_type": "RuntimeError",
            "error_message": message,
            "timestamp": time.time(),
        }
        crash = {"error": f"RuntimeError: {message}", "error_details": details}
        return f"data: {json.dumps(crash)}\n\n".encode()

    def quota(self) -> bytes:
        """Return the event of a failure on the model's side."""
        return self._event({"errorCode": "RESOURCE_EXHAUSTED", "errorMessage": "Out of quota"})

    def _work(self, clip: Clip, text: list[dict[str, Any]]) -> list[TimedEvent]:
        arguments = {"prompt": clip.name, "duration": round(clip.seconds)}
        generate = _call("fc-1", "generate_video", arguments)
        edit = [*text, _call("fc-2", "edit_multitrack_draft", {"bgm": MUSIC})]
        generated = self._content("user", [_response("fc-1", "generate_video")])
        edited = self._content("user", [_response("fc-2", "edit_multitrack_draft")])
        draft = {"t": [{"tt": 0, "sg": [{"d": round(clip.seconds * 1000)}]}]}
        return [
            TimedEvent(0.08, self._content("model", [generate], {"longRunningToolIds": ["fc-1"]})),
            TimedEvent(0.6, generated, DraftStage.RAW),
            TimedEvent(0.62, self._content("model", edit)),
            TimedEvent(0.9, edited, DraftStage.FINISHED),
            TimedEvent(0.92, self._event({}, {"draft": draft})),
        ]

    def _closing(self, style: ReplyStyle, clip: Clip) -> list[TimedEvent]:
        ready = f"Your clip is ready: {clip.seconds:g} seconds with {MUSIC} music."
        if style is ReplyStyle.GUI:
            ready += (
                " Click the Export button to download it, or open the Timeline panel to preview "
                "in timeline. 点击“导出”按钮即可下载。"
            )
        if style is not ReplyStyle.TRAILING:
            return [TimedEvent(1.0, self._text(ready))]
        error = "I encountered a temporary issue. Please try again later."
        return [TimedEvent(0.98, self._text(ready)), TimedEvent(1.0, self._text(error))]

    def _text_in_pieces(self, share: float, pieces: tuple[str, ...]) -> list[TimedEvent]:
        partial = {"partial": True}
        events = [
            TimedEvent(share, self._content("model", [{"text": piece}], partial))
            for piece in pieces
        ]
        return [*events, TimedEvent(share + 0.02, self._text("".join(pieces)))]

    def _text(self, text: str) -> bytes:
        return self._content("model", [{"text": text}])

    def _content(
        self, role: str, parts: list[dict[str, Any]], more: dict[str, Any] | None = None
    ) -> bytes:
        return self._event({"content": {"parts": parts, "role": role}, **(more or {})})

    def _event(self, fields: dict[str, Any], state: dict[str, Any] | None = None) -> bytes:
        event = {
            **fields,
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
