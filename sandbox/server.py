"""The server: it listens, prints its address, and stops at a signal."""

import asyncio
import os
import resource
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from aiohttp import web

from sandbox.api.routes import application
from sandbox.backend import Backend
from sandbox.options import Options, parse

_BACKLOG = 4096
_SHUTDOWN_SECONDS = 0.5
_FILES_WANTED = 16_384
_CANNOT_SERVE = 3
"""The exit status if the port or a folder cannot be used."""


def main(argv: list[str] | None = None, *, program: str = "sandbox") -> None:
    """Run the stand-in until SIGTERM or SIGINT, with the options of a command line.

    Args:
        argv: The arguments after the program's name; None reads those of the process.
        program: The name in its help and its messages.

    Raises:
        SystemExit: An argument is wrong (status 2), help was asked for (status 0), or the port or
            a folder cannot be used (status 3).
    """
    options = parse(argv, program)
    _raise_file_limit()
    try:
        asyncio.run(_serve(options))
    except OSError as error:
        sys.stderr.write(f"{program}: {_explain(error, options)}\n")
        sys.exit(_CANNOT_SERVE)


def _explain(error: OSError, options: Options) -> str:
    """Return why the stand-in cannot start, and what to do."""
    why = error.strerror if error.errno is None else os.strerror(error.errno)
    if error.filename is not None:
        return f"{error.filename} cannot be written: {why}. Choose another place for it."
    return (
        f"cannot listen on port {options.port} of {options.host}: {why}. Choose another port with "
        "--port PORT; 0 chooses a free one."
    )


@asynccontextmanager
async def serving(options: Options) -> AsyncIterator[str]:
    """Run the stand-in in the current event loop, and yield its base URL when it listens."""
    async with AsyncExitStack() as stack:
        folder = options.state_dir
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sandbox-")))
        backend = Backend(options, folder)
        stack.push_async_callback(backend.stop)
        runner = web.AppRunner(
            application(backend),
            access_log=None,
            # A client that disconnects cancels its run, as with an ADK server.
            handler_cancellation=True,
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        # The streams stop first; otherwise the runner's cleanup would wait for them.
        stack.push_async_callback(backend.streams.stop)
        site = web.TCPSite(runner, options.host, options.port, backlog=_BACKLOG)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _serve(options: Options) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with serving(options) as url:
        if options.port_file is not None:
            _write_port_file(options.port_file, url.rpartition(":")[2])
        print(f"sandbox of the video API: {url}", flush=True)  # noqa: T201 - what callers read
        await stopping.wait()


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
