"""The server process: listen, say where, and end promptly when told to."""

import asyncio
import os
import resource
import signal
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from aiohttp import web

from sandbox.api.controls import control_routes, refusal_middleware
from sandbox.api.middleware import BACKEND
from sandbox.api.renders import download_routes
from sandbox.api.sessions import api_routes
from sandbox.backend import Backend, make_backend
from sandbox.options import Options, parse

_BACKLOG = 4096
_SHUTDOWN_SECONDS = 0.5
_FILES_WANTED = 16_384
_START_SECONDS = 30.0


def main(argv: list[str] | None = None) -> None:
    """Run the stand-in until SIGTERM or SIGINT.

    Args:
        argv: Command-line arguments; None reads those of the process.
    """
    options = parse(argv)
    _raise_file_limit()
    asyncio.run(_serve(options))


@asynccontextmanager
async def serving(options: Options) -> AsyncIterator[str]:
    """The stand-in within the running event loop.

    Yields:
        Its base URL, when it listens.
    """
    async with AsyncExitStack() as stack:
        folder = options.state_dir
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sandbox-")))
        backend = make_backend(options, folder)
        stack.push_async_callback(backend.stop)
        runner = web.AppRunner(
            _application(backend),
            access_log=None,
            # A client that goes away cancels its run, as an ADK server does.
            handler_cancellation=True,
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        # Streams end first, or the runner would wait for them.
        stack.push_async_callback(backend.streams.stop)
        site = web.TCPSite(runner, options.host, options.port, backlog=_BACKLOG)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def running(options: Options) -> Iterator[str]:
    """The stand-in on a thread of its own, for callers without an event loop.

    Yields:
        Its base URL, when it listens.

    Raises:
        RuntimeError: It did not start.
    """
    started: list[str] = []
    ready, loop_ends = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with serving(options) as url:
            started.append(url)
            ready.set()
            await loop_ends.wait()

    def work() -> None:
        try:
            loop.run_until_complete(serve())
        finally:
            loop.close()
            ready.set()

    thread = threading.Thread(target=work, name="sandbox", daemon=True)
    thread.start()
    ready.wait(_START_SECONDS)
    if not started:
        raise RuntimeError("the stand-in did not start")
    try:
        yield started[0]
    finally:
        loop.call_soon_threadsafe(loop_ends.set)
        thread.join()


async def _serve(options: Options) -> None:
    told_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_end.set)
    async with serving(options) as url:
        if options.port_file is not None:
            _write_port_file(options.port_file, url.rpartition(":")[2])
        print(f"sandbox of the video API: {url}", flush=True)  # noqa: T201 - a program's greeting
        await told_to_end.wait()


def _application(backend: Backend) -> web.Application:
    application = web.Application(
        middlewares=[refusal_middleware], client_max_size=16 * 1024 * 1024
    )
    application[BACKEND] = backend
    # The proxy's download comes before the poll of an id, whose pattern is wider.
    application.add_routes([*download_routes(), *api_routes(), *control_routes()])
    return application


def _write_port_file(port_file: Path, port: str) -> None:
    port_file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = port_file.with_name(f"{port_file.name}.{os.getpid()}")
    unfinished.write_text(f"{port}\n")
    unfinished.replace(port_file)


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = _FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, _FILES_WANTED)
    if soft != resource.RLIM_INFINITY and soft < ceiling:
        resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, hard))
