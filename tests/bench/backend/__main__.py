"""Serve the backend on a free loopback port, print its address, and end at SIGTERM.

It answers everything immediately and serves one clip, so that a measurement shows what its client
costs. `GET /counts` returns the calls, the streams that are open and the most that were, and the
seconds between the polls of each render. The stand-in in `sandbox/` is the one to test with: this
one checks nothing.
"""

import asyncio
import gc
import resource
import signal
import sys
from argparse import Namespace
from pathlib import Path

from tests.bench.backend.api import Api
from tests.bench.backend.clips import KINDS, clip
from tests.bench.backend.server import Connection
from tests.support.options import parse_options

OPTIONS = {
    "stream_seconds": (0.0, "duration of a message's stream"),
    "heartbeat_seconds": (5.0, "interval of the heartbeats in a stream"),
    "rendering_polls": (0, "polls of a render that are answered with processing"),
    "clip": ("flat", f"the clip: {', '.join(KINDS)}, or the path of a file"),
}
BACKLOG = 4096


async def serve(options: Namespace) -> None:
    """Serve until SIGTERM."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in signal.SIGTERM, signal.SIGINT:
        loop.add_signal_handler(number, stop.set)
    path = clip(options.clip) if options.clip in KINDS else Path(options.clip)
    api = Api(path.read_bytes(), options.rendering_polls)
    server = await loop.create_server(
        lambda: Connection(api, options.stream_seconds, options.heartbeat_seconds),
        "127.0.0.1",
        0,
        backlog=BACKLOG,
    )
    api.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    sys.stdout.write(f"{api.url}\n")
    sys.stdout.flush()
    await stop.wait()


def allow_many_files() -> None:
    """Raise the limit of open files to what the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    allow_many_files()
    # There is hardly any garbage in cycles, and collections pause everything.
    gc.disable()
    asyncio.run(serve(parse_options("tests.bench.backend", __doc__, OPTIONS)))
