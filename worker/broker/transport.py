"""Kombu's Redis transport, which checks each message before Celery reads it.

Only the workers write wake-up messages, but anybody who reaches the broker can write into their
queue and publish on Celery's channels, and a malformed message would end Celery's consumer. The
transport also sends and reads many messages in one command.
"""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

import structlog
from celery import current_app
from kombu.transport import redis as kombu_redis
from kombu.utils.json import dumps
from redis import Redis
from redis.exceptions import RedisError

from worker.faultpoints import faultpoint
from worker.intake.messages import MalformedMessageError, read_message
from worker.intake.set_aside import SetAsideMessages
from worker.runtime.runtime import get_runtime

log = structlog.get_logger(__name__)

TRANSPORT: Final = "worker.broker.transport:Transport"
SENTINEL_TRANSPORT: Final = "worker.broker.transport:SentinelTransport"
SOCKET_SCHEME: Final = "reelqueue"
"""The scheme of the address of a Unix socket whose transport is `TRANSPORT`."""
MAX_TOGETHER: Final = 50
"""The most messages that are read in one command after the first one. If the worker dies before it
has handled them, they are sent again."""


def check_message(raw: bytes, *, is_task: bool) -> None:
    """Check that kombu can deliver a message and, for a task, that a worker can run it.

    Raises:
        MalformedMessageError: It cannot.
    """
    try:
        envelope = json.loads(raw)
        properties, headers = envelope["properties"], envelope["headers"]
        is_envelope = (
            isinstance(properties["delivery_tag"], str)
            and isinstance(properties["delivery_info"], dict)
            and isinstance(envelope["body"], str)
            and isinstance(headers, dict)
        )
    except (ValueError, LookupError, TypeError, RecursionError):
        is_envelope = False
    if not is_envelope:
        raise MalformedMessageError("it is not a message of Celery")
    if is_task:
        message = read_message(raw)
        if message.task not in current_app.tasks:
            raise MalformedMessageError(f"it is a task of another service, {message.task}")


def check_broadcast(raw: bytes, *, is_event: bool) -> None:
    """Check that Celery can read an event of a worker, or a command of its remote control.

    Raises:
        MalformedMessageError: It cannot: it would end the consumer or its connection.
    """
    check_message(raw, is_task=False)
    envelope = json.loads(raw)
    try:
        body = envelope["body"]
        if envelope["properties"].get("body_encoding") == "base64":
            body = base64.b64decode(body)
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if envelope.get("content-type") != "application/json":
        raise MalformedMessageError("its body is not JSON")
    if is_event:
        events = found if isinstance(found, list) and found else [found]
        is_valid = all(map(_is_event, events))
    elif not isinstance(found, dict):
        is_valid = False
    else:
        reply_to = found.get("reply_to")
        is_valid = (
            isinstance(found.get("method"), str)
            and isinstance(found.get("arguments") or {}, dict)
            and isinstance(found.get("destination") or [], list)
            and (reply_to is None or isinstance(reply_to, dict))
        )
    if not is_valid:
        raise MalformedMessageError("it is neither an event nor a command of Celery")


def _is_event(found: object) -> bool:
    return (
        isinstance(found, dict)
        and isinstance(found.get("type"), str)
        and isinstance(found.get("hostname"), str)
        and type(found.get("clock")) is int
    )


class CheckingClient(Redis):
    """A client whose blocking read returns nothing in place of a malformed message."""

    def parse_response(self, connection: Any, command_name: Any, **options: Any) -> Any:  # noqa: ANN401 - redis-py's
        """Read a reply."""
        reply: Any = super().parse_response(connection, command_name, **options)  # type: ignore[no-untyped-call]
        if command_name != "BRPOP" or not reply:
            return reply
        queue, raw = reply
        try:
            check_message(raw, is_task=b"pidbox" not in queue)
        except MalformedMessageError as error:
            _set_aside(raw, str(error))
            return None
        return reply


def _set_aside(raw: bytes, reason: str) -> None:
    try:
        message = SetAsideMessages(get_runtime().ledger).add(raw, reason)
    except RedisError as error:
        # A lost wake-up message delays a job at most until the next one.
        log.warning("message dropped", bytes=len(raw), reason=reason, error=str(error))
    else:
        log.warning("message set aside", sha256=message.sha256, bytes=len(raw), reason=reason)


class _ChecksBroadcasts:
    """Empties each broadcast that Celery cannot read, because kombu skips empty ones."""

    def _handle_message(self, client: Any, received: Any) -> Any:  # noqa: ANN401 - kombu's
        payload: Any = super()._handle_message(client, received)  # type: ignore[misc]
        if bytes(payload["type"]).endswith(b"message") and payload["data"]:
            try:
                check_broadcast(payload["data"], is_event=b"celeryev" in payload["channel"])
            except MalformedMessageError as error:
                log.warning("broadcast dropped", bytes=len(payload["data"]), reason=str(error))
                payload["data"] = None
        return payload


class _SendsTogether:
    """Sends many messages in one command, instead of two for each.

    With thousands of busy greenlets, each round trip waits until all of them have run.
    """

    _collected: dict[str, list[str]] | None = None

    @contextmanager
    def sending_together(self) -> Iterator[None]:
        """Collect the messages that are published in the block, and send them at its end.

        Their routing keys must be the names of their queues. After an error, none is sent.

        Raises:
            RedisError: The broker cannot be reached.
        """
        collected: dict[str, list[str]] = {}
        self._collected = collected
        try:
            yield
        finally:
            self._collected = None
        if not collected:
            return
        channel = cast("Any", self)
        with faultpoint("wakeup"), channel.conn_or_acquire() as client:
            for key, messages in collected.items():
                client.lpush(key, *messages)

    def _put(self, queue: str, message: Any, **options: Any) -> None:  # noqa: ANN401 - kombu's
        if self._collected is None:
            super()._put(queue, message, **options)  # type: ignore[misc]
            return
        channel = cast("Any", self)
        priority = channel._get_message_priority(message, reverse=False)  # noqa: SLF001
        key = channel._q_for_pri(queue, priority)  # noqa: SLF001
        self._collected.setdefault(key, []).append(dumps(message))

    def _lookup(self, exchange: str, routing_key: str, default: str | None = None) -> list[str]:
        if self._collected is not None:
            return [routing_key]
        found: list[str] = super()._lookup(exchange, routing_key, default)  # type: ignore[misc]
        return found


class _ReadsTogether:
    """Reads the messages that follow the first one in one command."""

    def _brpop_read(self, **options: Any) -> Any:  # noqa: ANN401 - kombu's
        found: Any = super()._brpop_read(**options)  # type: ignore[misc]
        channel = cast("Any", self)
        for queue in list(channel.active_queues):
            self._deliver_more(channel, queue)
        return found

    def _deliver_more(self, channel: Any, queue: str) -> None:  # noqa: ANN401 - kombu's
        room = channel.qos.can_consume_max_estimate()
        most = MAX_TOGETHER if room is None else min(room, MAX_TOGETHER)
        if most <= 0:
            return
        with channel.conn_or_acquire() as client:
            waiting: list[bytes] = client.rpop(queue, most) or []
        for raw in waiting:
            try:
                check_message(raw, is_task=True)
            except MalformedMessageError as error:
                _set_aside(raw, str(error))
            else:
                channel.connection._deliver(json.loads(raw), queue)  # noqa: SLF001


class _ChannelChanges(_SendsTogether, _ReadsTogether, _ChecksBroadcasts):
    """Everything that differs from kombu's channels."""

    def _get_client(self) -> type[Redis]:
        return CheckingClient


class _CheckingChannel(_ChannelChanges, kombu_redis.Channel):
    pass


class _CheckingSentinelChannel(_ChannelChanges, kombu_redis.SentinelChannel):
    pass


class Transport(kombu_redis.Transport):
    """Kombu's transport for one server."""

    Channel = _CheckingChannel


class SentinelTransport(kombu_redis.SentinelTransport):
    """Kombu's transport for a server that Sentinels name."""

    Channel = _CheckingSentinelChannel
