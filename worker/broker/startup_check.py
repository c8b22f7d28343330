"""What is wrong from the start, and no waiting will change: it ends the worker with a sentence."""

import ssl
from typing import Final

from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from config.redis_address import RedisAddress
from config.settings import Settings
from worker.ledger.clients import connect_without_retries

SECONDS: Final = 5.0


def wrong_connection(settings: Settings) -> str | None:
    """Return what is wrong with the addresses of Redis, or None.

    A server that is away, starts, or has no memory is not wrong: it is waited for.
    """
    servers = {"REDIS_URL": settings.redis.address}
    if settings.redis.broker_url is not None:
        servers["BROKER_URL"] = settings.redis.broker_address
    for variable, address in servers.items():
        problem = _problem(address)
        if problem is not None:
            return f"{variable}: the Redis server at {address.place} {problem}"
    return None


def _problem(address: RedisAddress) -> str | None:
    try:
        with connect_without_retries(address, SECONDS) as client:
            client.ping()
    except AuthenticationError:
        return "refuses the user or the password. Set the right ones in the address."
    except NoPermissionError:
        return "does not permit this user anything. Give it the rights that the README lists."
    except ResponseError as error:
        if "DB index" in str(error) or "invalid DB" in str(error):
            return "has no database of this number. Set one that exists, such as /0."
    except RedisError as error:
        if _is_certificate_error(error):
            return (
                "shows a certificate that cannot be verified. Name your own authority with "
                "?ssl_ca_certs=/path/to/ca.pem, or write ?ssl_cert_reqs=none to accept any."
            )
        if _has_cause(error, ssl.SSLError):
            return "does not speak TLS as expected. Write redis:// for a server without TLS."
    except OSError:
        return None
    return None


def _is_certificate_error(error: BaseException) -> bool:
    return _has_cause(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY" in str(error)


def _has_cause(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False
