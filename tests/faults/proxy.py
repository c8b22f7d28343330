"""A TCP proxy that imitates a bad network between two healthy servers."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from typing import Final, Self

CHUNK: Final = 65536
SLICE: Final = 700
SLICE_SECONDS: Final = 0.001
SLOW_SECONDS: Final = 0.05


class Condition(StrEnum):
    """The condition of the network."""

    NORMAL = "normal"
    SLOW = "slow"  # every read is delayed
    SLICED = "sliced"  # bytes arrive in small pieces, so that no read returns a whole reply
    HALF_OPEN = "half-open"  # no byte arrives, and neither side gets an error


class _Connection:
    """A client's connection, and the one to the server for it."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._writers = (client, server)
        self.half_open = False
        self.is_muted = False

    def cut(self, *, reset: bool) -> None:
        for writer in self._writers:
            if reset:
                sock = writer.get_extra_info("socket")
                with suppress(OSError):
                    # Close with a RST instead of a FIN.
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            else:
                writer.close()


class Proxy:
    """Listens on a loopback port and forwards to another, in a thread of its own."""

    def __init__(self, port: int) -> None:
        """Start to listen. ``port`` is the server's, which may be down for a time."""
        self._target = port
        self._condition = Condition.NORMAL
        self._is_muted = False
        self._connections: set[_Connection] = set()
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        ready.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def set_condition(self, condition: Condition) -> None:
        """Change the condition. Connections that were half-open stay so until they are cut."""
        self._do(lambda: self._set(condition))

    def cut(self, *, reset: bool = False) -> None:
        """Close or reset all connections."""

        def cut_all() -> None:
            self._is_muted = False
            for link in list(self._connections):
                link.cut(reset=reset)

        self._do(cut_all)

    def mute(self) -> None:
        """Drop the replies that the server sends from now on, until `cut`. Requests arrive."""
        muted = threading.Event()

        def mute_all() -> None:
            self._is_muted = True
            for link in self._connections:
                link.is_muted = True
            muted.set()

        self._do(mute_all)
        muted.wait()

    def forward_to(self, port: int) -> None:
        """Forward new connections to another server's port. Those that are open stay."""
        self._target = port

    def _set(self, condition: Condition) -> None:
        self._condition = condition
        if condition is Condition.HALF_OPEN:
            for link in self._connections:
                link.half_open = True

    def _do(self, action: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(action)

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = int(server.sockets[0].getsockname()[1])
        ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            replies, server = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            client.transport.abort()
            return
        link = _Connection(client, server)
        link.half_open = self._condition is Condition.HALF_OPEN
        link.is_muted = self._is_muted
        self._connections.add(link)
        try:
            # A task that ends as cancelled would be reported as an error of the server.
            with suppress(asyncio.CancelledError):
                await asyncio.gather(
                    self._forward(reader, server, lambda: link.half_open, link),
                    self._forward(replies, client, lambda: link.half_open or link.is_muted, link),
                )
        finally:
            self._connections.discard(link)
            link.cut(reset=False)

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        is_silent: Callable[[], bool],
        link: _Connection,
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                if is_silent():
                    continue
                await self._write(data, writer)
        # If one side has closed its connection, close the other, unless they are half-open.
        if not link.half_open:
            writer.close()

    async def _write(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        match self._condition:
            case Condition.SLOW:
                await asyncio.sleep(SLOW_SECONDS)
                writer.write(data)
            case Condition.SLICED:
                for start in range(0, len(data), SLICE):
                    writer.write(data[start : start + SLICE])
                    await writer.drain()
                    await asyncio.sleep(SLICE_SECONDS)
            case _:
                writer.write(data)
        await writer.drain()
