"""What is wrong with the addresses of Redis, and what to do about it.

A problem that does not pass by itself ends a worker at its start. A server that does not answer,
is loading, or has no memory is not reported, because the worker waits for it.
"""

import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    RedisError,
    ResponseError,
)

from config.redis_address import SENTINEL_FORM, RedisAddress
from config.settings import Settings
from worker.ledger.connections.clients import connect_without_retries
from worker.runtime.checks.durability import server_version

SECONDS: Final = 5.0
_NO_HELLO: Final = re.compile("unknown command.{0,3}HELLO", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ConnectionProblem:
    """What is wrong with a server, and whether a worker cannot start because of it."""

    message: str
    is_fatal: bool = True


def connection_problems(settings: Settings) -> Iterator[ConnectionProblem]:
    """Check the servers of the records and of the queues. Each message names the variable."""
    servers = {"REDIS_URL": settings.redis.address}
    if settings.redis.broker_url is not None:
        servers["BROKER_URL"] = settings.redis.broker_address
    for variable, address in servers.items():
        problem = connection_problem(address)
        if problem is not None:
            text = f"{variable}: the Redis server at {address.place} {problem.message}"
            yield ConnectionProblem(text, problem.is_fatal)


def connection_problem(address: RedisAddress) -> ConnectionProblem | None:
    """Check one server. The message continues a sentence that begins with its name."""
    try:
        with connect_without_retries(address, SECONDS) as client:
            client.ping()
            return _unsuitable(_info(client))
    except RedisError as error:
        message = _explained(error)
        return ConnectionProblem(message) if message else None
    except OSError:
        return None


def _explained(error: RedisError) -> str | None:
    if isinstance(error, AuthenticationError):
        return "refuses the user or the password. Set the right ones in the address."
    if isinstance(error, NoPermissionError):
        return (
            'does not permit this user anything. Give it the rights in "Access to Redis" in '
            "docs/operations.md."
        )
    if isinstance(error, ResponseError):
        if "DB index" in str(error) or "invalid DB" in str(error):
            return "has no database of this number. Set one that exists, such as /0."
        if _NO_HELLO.search(str(error)):
            return "is older than Redis 6. Use Redis 7.0 or newer, or Valkey."
    if _is_certificate_error(error):
        return (
            "shows a certificate that cannot be verified. Name your own authority with "
            "?ssl_ca_certs=/path/to/ca.pem, or write ?ssl_cert_reqs=none to accept any."
        )
    if _has_cause(error, ssl.SSLError):
        return "does not speak TLS as expected. Write redis:// for a server without TLS."
    return None


def _info(client: Any) -> Mapping[str, Any]:  # noqa: ANN401 - redis-py's types do not fit
    try:
        found: Mapping[str, Any] = client.info()
    except NoPermissionError:
        return {}  # `reelqueue doctor` names the right that is missing
    return found


def _unsuitable(info: Mapping[str, Any]) -> ConnectionProblem | None:
    if info.get("redis_mode") == "sentinel":
        return ConnectionProblem(f"is a Sentinel. Write {SENTINEL_FORM}.")
    if info.get("cluster_enabled") == 1 or info.get("redis_mode") == "cluster":
        return ConnectionProblem("is a node of a cluster. Use a single server, without a cluster.")
    if info:
        version = server_version(info)
        if not version.ok:
            return ConnectionProblem(
                f"is {version.found}, which is too old. Use Redis 7.0 or newer, or Valkey."
            )
    if info.get("role") == "slave":
        return ConnectionProblem(
            "is a replica, which accepts no writes. Point the address at the primary.",
            is_fatal=False,
        )
    return None


def _is_certificate_error(error: BaseException) -> bool:
    return _has_cause(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY" in str(error)


def _has_cause(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False
