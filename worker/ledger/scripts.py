"""The Lua scripts: each a file that documents itself, behind one prelude and one clock."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib import resources
from typing import Any, Final

from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import NoScriptError

from worker.faultpoints import around
from worker.ledger.connection import PipelinedConnection, pipelined_connection
from worker.ledger.constants import LUA_CONSTANTS

_FOLDER: Final = resources.files(__package__) / "lua"

_LIBRARIES: Final = ("prelude", "flows", "payments", "webhooks", "sessions", "transitions")
"""Parts of every script, in the order in which they use each other."""


@cache
def source(name: str) -> str:
    """The text of ``lua/<name>.lua``."""
    return (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")


class Scripts:
    """Runs the scripts of one namespace on one connection pool.

    Args:
        redis: A client that decodes replies to ``str``.
        namespace: First argument of every script.
        clock: Lua that defines ``clock()``, in ms; the server's own time unless a test says
            otherwise.
    """

    # The client's own annotations say «str or bytes» of every reply, however it decodes: Any.
    def __init__(self, redis: Any, namespace: str, clock: str | None = None) -> None:  # noqa: ANN401
        self._redis = redis
        self._namespace = namespace
        self._clock = clock or source("lib/clock")
        self._shas: dict[str, str] = {}

    def text(self, name: str) -> str:
        """The whole script as the server runs it."""
        shared = (source(f"lib/{name}") for name in _LIBRARIES)
        return "\n".join((self._clock, LUA_CONSTANTS, *shared, source(name)))

    def arguments(self, *values: object) -> list[Any]:
        """Key count, the one key and the arguments of a call, as EVAL and EVALSHA take them."""
        return [1, f"meta:{{{self._namespace}}}", self._namespace, *values]

    def run(self, name: str, *values: object, point: str | None = None) -> Any:  # noqa: ANN401
        """Run a script; its text travels only when the server does not know it.

        Args:
            name: The script.
            values: Its arguments after the namespace.
            point: The name of its fault points; None: that of the script.
        """
        with around(point or name):
            try:
                return self._redis.evalsha(self.sha(name), *self.arguments(*values))
            except NoScriptError:
                return self._redis.eval(self.text(name), *self.arguments(*values))

    def run_many(self, name: str, calls: Iterable[Sequence[object]]) -> list[Any]:
        """Run a script for each list of arguments, in one round trip.

        A server that was restarted knows no scripts: all are then run again, which is safe,
        because every script is safe twice.
        """
        prepared = [self.arguments(*call) for call in calls]
        with around(name):
            try:
                return self._evaluate(name, prepared)
            except NoScriptError:
                del self._shas[name]
                return self._evaluate(name, prepared)

    def run_pipelined(self, name: str, calls: Iterable[Sequence[object]]) -> Iterator[Any]:
        """Run a script for each list of arguments; the server works on one as the next is made.

        Where the connection breaks, what has no reply is run again, and the rest one by one, as
        ``run`` does: every script is safe twice.
        """
        with pipelined_connection(self._redis) as line:
            before: Iterator[Any] | None = None
            for call in calls:
                exchange = self._send_then_receive(line, name, call)
                next(exchange)
                if before is not None:
                    yield next(before)
                before = exchange
            if before is not None:
                yield next(before)

    def _send_then_receive(
        self, line: PipelinedConnection, name: str, call: Sequence[object]
    ) -> Iterator[Any]:
        """Send a call; then, when asked again, give the reply."""
        try:
            with around(name):
                line.send("EVALSHA", self.sha(name), *self.arguments(*call))
                yield None
                reply = line.receive()
        except (NoConnection, NoScriptError):
            reply = self.run(name, *call)
        yield reply

    def _evaluate(self, name: str, prepared: Sequence[list[Any]]) -> list[Any]:
        sha = self.sha(name)
        with self._redis.pipeline(transaction=False) as pipe:
            for arguments in prepared:
                pipe.evalsha(sha, *arguments)
            return list(pipe.execute())

    def sha(self, name: str) -> str:
        """The digest of a script, loaded once a process."""
        if name not in self._shas:
            self._shas[name] = str(self._redis.script_load(self.text(name)))
        return self._shas[name]
