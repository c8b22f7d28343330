"""A headless Chromium that tests control over the DevTools protocol."""

import asyncio
import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.support.waiting import wait_until

PROGRAM: Final = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
"""The path of the program; None if it is not installed."""

FLAGS: Final = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-port=0"),
)


class Tab:
    """A tab of the browser."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: Any) -> None:
        self._loop = loop
        self._socket = socket
        self._calls = 0

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol."""
        return self._loop.run_until_complete(self._call(method, parameters))

    def open(self, url: str) -> None:
        """Open a URL and wait until the page has loaded."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=url)
        ready = "document.readyState === 'complete' && location.href !== 'about:blank'"
        wait_until(lambda: self.evaluate(ready), f"{url} to load")

    def evaluate(self, expression: str) -> Any:
        """Evaluate a JavaScript expression in the page."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def type(self, text: str) -> None:
        """Type text into the focused element."""
        self.call("Input.insertText", text=text)

    def press(self, key: str, text: str = "") -> None:
        """Press and release a key."""
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def resize(self, width: int, height: int) -> None:
        """Set the size of the page in pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def emulate_media(self, **features: str) -> None:
        """Set user preferences, such as ``color_scheme="dark"``."""
        preferences = [
            {"name": f"prefers-{name.replace('_', '-')}", "value": value}
            for name, value in features.items()
        ]
        self.call("Emulation.setEmulatedMedia", features=preferences)

    def screenshot(self, to: Path) -> None:
        """Save a screenshot as PNG."""
        to.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    async def _call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._calls += 1
        await self._socket.send_json({"id": self._calls, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive(timeout=200)
            answer = json.loads(message.data)
            if answer.get("id") == self._calls:
                assert "error" not in answer, answer["error"]
                result: dict[str, Any] = answer["result"]
                return result


@contextmanager
def chromium(profile: Path) -> Iterator[Tab]:
    """Run a browser with an empty profile; yields its tab."""
    assert PROGRAM is not None
    with (profile.parent / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            [PROGRAM, *FLAGS, f"--user-data-dir={profile}", "about:blank"], stdout=log, stderr=log
        )
    loop = asyncio.new_event_loop()
    try:
        place = profile / "DevToolsActivePort"
        wait_until(
            lambda: place.exists() and place.read_text().count("\n") > 0, "Chromium to start"
        )
        port = place.read_text().split()[0]
        session = loop.run_until_complete(_session())
        try:
            yield Tab(loop, loop.run_until_complete(_socket(session, port)))
        finally:
            loop.run_until_complete(session.close())
    finally:
        loop.close()
        process.kill()
        process.wait()


async def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession()


async def _socket(session: aiohttp.ClientSession, port: str) -> aiohttp.ClientWebSocketResponse:
    async with session.put(f"http://127.0.0.1:{port}/json/new?about:blank") as reply:
        address = (await reply.json())["webSocketDebuggerUrl"]
    return await session.ws_connect(address, max_msg_size=0)
