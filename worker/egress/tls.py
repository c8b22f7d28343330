"""The TLS context that all connections of one process share."""

import functools
import ssl

import httpx


@functools.cache
def shared_ssl_context() -> ssl.SSLContext:
    """Build the TLS context at its first use: each context costs about 20 ms."""
    return httpx.create_ssl_context()
