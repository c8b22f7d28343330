"""A client of the video API, written from docs/video-api.md alone."""

import io
import json
import threading
import time
from collections.abc import Callable
from typing import Any, Self

import httpx
from PIL import Image, ImageDraw

TOKEN = "nmv_usr_registered_1"
ATTRIBUTION = {
    "X-Skill-Source": "ai-image-to-video-extender",
    "X-Skill-Version": "1.0.0",
    "X-Skill-Platform": "unknown",
}
PROMPT = "extend this image into a 1-second video, landscape"
TIMEOUT_SECONDS = 60.0


def picture(width: int = 160, height: int = 90, mark: int = 0) -> bytes:
    """Return a PNG with a bright dot; each mark gives a different file."""
    image = Image.new("RGB", (width, height), (20, 30, 40 + mark))
    ImageDraw.Draw(image).ellipse((60, 40, 76, 56), fill="white")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


class Api:
    """The documented calls. Each returns the reply as it was received."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, headers=ATTRIBUTION)
        if token:
            self.http.headers["Authorization"] = f"Bearer {token}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def anonymous_token(self, client_id: str | None) -> httpx.Response:
        headers = {} if client_id is None else {"X-Client-Id": client_id}
        return self.http.post("/api/auth/anonymous-token", headers=headers)

    def open_session(self) -> httpx.Response:
        return self.http.post(
            "/api/tasks/me/with-session/nemo_agent",
            json={"task_name": "project", "language": "en"},
        )

    def session(self) -> str:
        """Open a session and return its id."""
        return str(self.open_session().json()["data"]["session_id"])

    def upload(self, session: str, content: bytes, name: str = "photo.png") -> httpx.Response:
        return self.http.post(
            f"/api/upload-video/nemo_agent/me/{session}", files={"files": (name, content)}
        )

    def session_with_picture(self, mark: int = 0) -> str:
        """Open a session, upload a picture, and return the session's id."""
        session = self.session()
        assert self.upload(session, picture(mark=mark)).json()["code"] == 0
        return session

    def message_body(self, session: str, text: str = PROMPT) -> dict[str, Any]:
        return {
            "app_name": "nemo_agent",
            "user_id": "me",
            "session_id": session,
            "new_message": {"parts": [{"text": text}]},
        }

    def message(self, session: str, text: str = PROMPT) -> httpx.Response:
        """Send a message and read its stream to the end."""
        return self.http.post("/run_sse", json=self.message_body(session, text))

    def state(self, session: str) -> dict[str, Any]:
        reply = self.http.get(f"/api/state/nemo_agent/me/{session}/latest").json()
        return dict(reply["data"]["state"])

    def credits(self) -> dict[str, int]:
        return dict(self.http.get("/api/credits/balance/simple").json()["data"])

    def export(self, session: str, identifier: str, draft: Any = None) -> httpx.Response:
        return self.http.post(
            "/api/render/proxy/lambda",
            json={
                "id": identifier,
                "sessionId": session,
                "draft": self.state(session)["draft"] if draft is None else draft,
                "output": {"format": "mp4", "quality": "high"},
            },
        )

    def poll(self, identifier: str) -> httpx.Response:
        return self.http.get(f"/api/render/proxy/lambda/{identifier}")

    def wait_for_render(self, identifier: str) -> dict[str, Any]:
        """Poll a render until it has completed or failed, and return the last reply."""
        return dict(
            self.wait_until(
                lambda: self.poll(identifier).json(),
                lambda reply: reply["status"] in {"completed", "failed"},
            )
        )

    def ledger(self) -> dict[str, Any]:
        return dict(self.http.get("/sandbox/ledger").json())

    def faults(self, *faults: dict[str, Any]) -> httpx.Response:
        return self.http.post("/sandbox/faults", json=list(faults))

    def wait_until(self, read: Callable[[], Any], accept: Callable[[Any], bool]) -> Any:
        """Read a value again and again until it is accepted, and return it."""
        limit = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < limit:
            found = read()
            if accept(found):
                return found
            threading.Event().wait(0.01)
        raise AssertionError(f"not accepted in time: {found}")


def fetch(url: str, **headers: str) -> httpx.Response:
    """Get a URL without a token."""
    return httpx.get(url, headers=headers, timeout=TIMEOUT_SECONDS)


def events(stream: str) -> list[dict[str, Any]]:
    """Return the events of a stream, without heartbeats."""
    lines = [line.removeprefix("data:").strip() for line in stream.split("\n")]
    return [json.loads(line) for line in lines if line.startswith("{")]


def texts(stream: str) -> list[str]:
    """Return the texts for the user, each once."""
    return [
        part["text"]
        for event in events(stream)
        if not event.get("partial")
        for part in event.get("content", {}).get("parts", [])
        if "text" in part and not part.get("thought")
    ]
