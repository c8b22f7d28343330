"""The calls that make one clip, and the least look at it: what all alternatives do for a job."""

import json
import ssl
import time
from pathlib import Path
from typing import Any

import av
import httpx
from PIL import Image

CONTEXT = ssl.create_default_context()
"""Made once: it takes longer than all calls of a job."""
HEADERS = {
    "Authorization": "Bearer nmv_usr_measured",
    "X-Skill-Source": "ai-image-to-video-extender",
    "X-Skill-Version": "1.0.0",
    "X-Skill-Platform": "measured",
}
Json = dict[str, Any]
AGENT = "nemo_agent/me"


def make_clip(api: str, image: Path, folder: Path, poll_seconds: float) -> None:
    """Make a clip of an image, and write it and its poster into a folder."""
    with httpx.Client(
        base_url=api, headers=HEADERS, timeout=60, trust_env=False, verify=CONTEXT
    ) as http:
        made = post(http, "/api/tasks/me/with-session/nemo_agent", {"task_name": "project"})
        session = made["data"]["session_id"]
        with image.open("rb") as file:
            upload = f"/api/upload-video/{AGENT}/{session}"
            http.post(upload, files={"files": (image.name, file)}).raise_for_status()
        get(http, f"/api/state/{AGENT}/{session}/latest")
        send_message(http, session, "extend this image into a 10-second video")
        state = get(http, f"/api/state/{AGENT}/{session}/latest")["data"]["state"]
        render = f"render_{session}"
        export = {"id": render, "sessionId": session, "draft": state["draft"], "output": {}}
        post(http, "/api/render/proxy/lambda", export)
        status: Json = {"status": "pending"}
        while status["status"] != "completed":
            time.sleep(poll_seconds)
            status = get(http, f"/api/render/proxy/lambda/{render}")
        clip = folder / f"{image.stem}.mp4"
        download(http, status["output"]["url"], clip)
    least_look(clip, clip.with_suffix(".jpg"))


def send_message(http: httpx.Client, session: str, text: str) -> None:
    """Send a message and read its stream to the end."""
    body = {
        "app_name": "nemo_agent",
        "user_id": "me",
        "session_id": session,
        "new_message": {"parts": [{"text": text}]},
    }
    with http.stream("POST", "/run_sse", json=body) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            data = line.removeprefix("data: ")
            if data.startswith("{") and "error" in json.loads(data):
                raise RuntimeError(data)


def download(http: httpx.Client, url: str, clip: Path) -> None:
    """Write what an address holds to a file."""
    with http.stream("GET", url) as response, clip.open("wb") as file:
        response.raise_for_status()
        for chunk in response.iter_bytes():
            file.write(chunk)


def least_look(clip: Path, poster: Path) -> None:
    """Open a clip, read its packets, decode one frame, scale it and write it."""
    with av.open(str(clip), format="mp4") as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        for _ in container.demux(stream):
            pass
        container.seek(0, stream=stream)
        frame = next(container.decode(stream))
        height = frame.height * 640 // frame.width
        image: Image.Image = frame.to_image(width=640, height=height, threads=1)  # type: ignore[no-untyped-call] # no types there
    image.save(poster, "JPEG", quality=85)


def get(http: httpx.Client, path: str) -> Json:
    """Send a GET request, and return the JSON that it is answered with."""
    found: Json = http.get(path).raise_for_status().json()
    return found


def post(http: httpx.Client, path: str, body: Json) -> Json:
    """Send JSON, and return the JSON that it is answered with."""
    found: Json = http.post(path, json=body).raise_for_status().json()
    return found
