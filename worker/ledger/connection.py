"""The connection to the Redis server of the records."""

from redis import Redis

from config.settings import Settings


def connect(settings: Settings) -> Redis:
    """A client that decodes to text and never waits for ever. Nothing is sent yet."""
    return Redis.from_url(
        settings.redis_url.get_secret_value(),
        decode_responses=True,
        # Bytes that are no text spoil their own record, not the page of records around it.
        encoding_errors="replace",
        socket_timeout=settings.redis_patience,
        socket_connect_timeout=min(5, settings.redis_patience),
        socket_keepalive=True,
        health_check_interval=settings.redis_patience,
    )
