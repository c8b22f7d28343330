"""Loading and running the Lua scripts. Each file below ``lua`` documents its script."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib import resources
from typing import Any, Final

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError

from worker.faultpoints import faultpoint
from worker.ledger.connections.connection import PipelinedConnection, pipelined_connection
from worker.ledger.connections.replicas import Replicas
from worker.ledger.constants import LUA_CONSTANTS
from worker.ledger.pages import MOVES_PER_CALL, pages

_FOLDER: Final = resources.files(__package__) / "lua"

_LIBRARIES: Final = (
    *("keys", "prelude", "flows", "payments", "webhooks", "sessions", "transitions", "submissions"),
)
"""Libraries that precede every script, each after those that it uses."""
_TIMELESS: Final = frozenset({"update_facts", "events_sent", "outbox_ack", "row_records"})
"""Scripts that use only the names of keys, and are loaded without the other libraries."""
_ALLOWED_WITHOUT_MEMORY: Final = frozenset(
    (
        *("prune", "prune_batch", "cancel", "cancel_waiting", "outbox_ack", "events_sent"),
        "set_clock",
    )
)
"""Scripts that run even if Redis has no memory left: they free memory, or set the clock."""

_BODY: Final = """
local function body()
{}
end
local has_succeeded, reply = pcall(body)
write_changes()
if not has_succeeded then error(reply) end
return reply
"""
"""Writes the changes of a script at its end, also of one that fails between two jobs."""


@cache
def source(name: str) -> str:
    """Return the text of the script or library ``name``: ``lua/<folder>/<name>.lua``."""
    files = (folder / f"{name}.lua" for folder in _FOLDER.iterdir())
    return next(file for file in files if file.is_file()).read_text(encoding="utf-8")


class Scripts:
    """Runs the scripts of one namespace on one connection pool.

    Args:
        redis: A client that decodes replies to ``str``.
        namespace: First argument of every script.
        clock: Lua that defines ``clock()``, in ms; None: the server's own time.
        replicas: How many replicas must confirm what ``run_confirmed`` writes.
    """

    # The client's annotations give "str or bytes" for every reply, even if it decodes: hence Any.
    def __init__(
        self,
        redis: Any,  # noqa: ANN401
        namespace: str,
        clock: str | None = None,
        replicas: Replicas | None = None,
    ) -> None:
        self._replicas = replicas or Replicas()
        self._redis = redis
        self._namespace = namespace
        self._clock = clock or source("clock")
        self._shas: dict[str, str] = {}

    def text(self, name: str) -> str:
        """Return the whole script as the server runs it."""
        libraries = (source(library) for library in _LIBRARIES)
        text = "\n".join((self._clock, LUA_CONSTANTS, *libraries, _BODY.format(source(name))))
        if name in _TIMELESS:
            text = "\n".join((source("keys"), source(name)))
        return f"#!lua flags=allow-oom\n{text}" if name in _ALLOWED_WITHOUT_MEMORY else text

    def arguments(self, *values: object) -> list[Any]:
        """Return the key count, the key and the arguments of a call for EVAL or EVALSHA."""
        return [1, f"meta:{{{self._namespace}}}", self._namespace, *values]

    def run(self, name: str, *values: object, point: str | None = None) -> Any:  # noqa: ANN401
        """Run a script. Its text is sent only if the server does not have it.

        Args:
            name: The script.
            values: Its arguments after the namespace.
            point: The name of its fault points; None: the script's name.
        """
        with faultpoint(point or name):
            try:
                return self._redis.evalsha(self.sha(name), *self.arguments(*values))
            except NoScriptError:
                return self._redis.eval(self.text(name), *self.arguments(*values))

    def run_confirmed(self, name: str, *values: object) -> Any:  # noqa: ANN401
        """Run a script, and wait until the replicas that must have confirmed what it wrote.

        Raises:
            NotReplicatedError: Too few have. The script has run, and may run again.
        """
        if self._replicas.count == 0:
            return self.run(name, *values)
        arguments = self.arguments(*values)
        with faultpoint(name):
            try:
                reply, confirmation = self._run_and_wait("evalsha", self.sha(name), arguments)
            except NoScriptError:
                reply, confirmation = self._run_and_wait("eval", self.text(name), arguments)
            self._replicas.check(confirmation)
        return reply

    def _run_and_wait(self, command: str, script: str, arguments: list[Any]) -> tuple[Any, Any]:
        # A wait confirms the writes of its own connection, and all of the server's before them. A
        # repeated call may write nothing: hence a write besides.
        with self._redis.pipeline(transaction=False) as pipe:
            getattr(pipe, command)(script, *arguments)
            pipe.set(f"write_check:{{{self._namespace}}}", 1, px=1)
            pipe.execute_command(*self._replicas.wait_command())
            reply, _, confirmation = pipe.execute()
        return reply, confirmation

    def run_many(self, name: str, calls: Iterable[Sequence[object]]) -> list[Any]:
        """Run a script for each list of arguments, some in each round trip.

        The server runs all calls that have arrived on a connection before it answers other clients,
        so each round trip has few.

        A restarted server has no scripts: all calls are then run again, which is safe, because
        every script is safe twice.
        """
        prepared = [self.arguments(*call) for call in calls]
        with faultpoint(name):
            try:
                return self._evaluate(name, prepared)
            except NoScriptError:
                del self._shas[name]
                return self._evaluate(name, prepared)

    def run_pages(self, name: str, calls: Iterable[Sequence[object]]) -> Iterator[Any]:
        """Run a script that writes records for each list of arguments.

        Where replicas must confirm what it writes, each run waits for them.
        """
        if self._replicas.count:
            return (self.run_confirmed(name, *call) for call in calls)
        return self.run_pipelined(name, calls)

    def run_pipelined(self, name: str, calls: Iterable[Sequence[object]]) -> Iterator[Any]:
        """Run a script for each list of arguments, and prepare one while the server runs another.

        If the connection breaks, calls without a reply are run again, and the rest one by one with
        ``run``, which is safe, because every script is safe twice.
        """
        with pipelined_connection(self._redis) as connection:
            previous: Iterator[Any] | None = None
            for call in calls:
                exchange = self._send_then_receive(connection, name, call)
                next(exchange)
                if previous is not None:
                    yield next(previous)
                previous = exchange
            if previous is not None:
                yield next(previous)

    def _send_then_receive(
        self, connection: PipelinedConnection, name: str, call: Sequence[object]
    ) -> Iterator[Any]:
        """Send a call at the first ``next``, and yield its reply at the second."""
        try:
            with faultpoint(name):
                connection.send("EVALSHA", self.sha(name), *self.arguments(*call))
                yield None
                reply = connection.receive()
        except (RedisConnectionError, NoScriptError):
            reply = self.run(name, *call)
        yield reply

    def _evaluate(self, name: str, prepared: Sequence[list[Any]]) -> list[Any]:
        sha, found = self.sha(name), []
        for page in pages(prepared, MOVES_PER_CALL):
            with self._redis.pipeline(transaction=False) as pipe:
                for arguments in page:
                    pipe.evalsha(sha, *arguments)
                found += pipe.execute()
        return found

    def sha(self, name: str) -> str:
        """Return the digest of a script; the first call in a process loads it."""
        if name not in self._shas:
            self._shas[name] = str(self._redis.script_load(self.text(name)))
        return self._shas[name]
