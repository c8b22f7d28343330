"""The TLS context that all connections of a process share."""

import functools
import ssl

import httpx


@functools.cache
def shared_ssl_context() -> ssl.SSLContext:
    """Return the shared TLS context, built at its first use: building one takes 20 ms."""
    return httpx.create_ssl_context()
