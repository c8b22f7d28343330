"""A client of Redis between whose commands something else happens."""

from collections.abc import Callable
from typing import Any, cast

from redis import Redis


class InterleavedRedis(Redis):
    """Calls a function after each of its commands, as another process may act then."""

    meanwhile: Callable[[], object] = staticmethod(lambda: None)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command."""
        reply: Any = super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        self.meanwhile()
        return reply


def interleaved(url: str, meanwhile: Callable[[], object]) -> InterleavedRedis:
    """Open a client that decodes to text."""
    client: Any = InterleavedRedis.from_url(url, decode_responses=True)
    client.meanwhile = meanwhile
    return cast("InterleavedRedis", client)
