"""Broadcasts of Celery: what it can read passes, and what would end the consumer does not."""

import base64
import json
from typing import Any

import pytest

from worker.broker.transport import check_broadcast
from worker.intake.messages import MalformedMessageError

EVENT: dict[str, object] = {"type": "worker-heartbeat", "hostname": "w@h", "clock": 7}
COMMAND: dict[str, object] = {"method": "ping", "arguments": {}, "destination": None}


def broadcast(content: object, **envelope: Any) -> bytes:
    """A broadcast as kombu publishes it."""
    whole = {
        "body": base64.b64encode(json.dumps(content).encode()).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {},
        "properties": {
            "body_encoding": "base64",
            "delivery_tag": "t",
            "delivery_info": {"exchange": "celeryev", "routing_key": "worker.heartbeat"},
        },
    }
    return json.dumps(whole | envelope).encode()


def test_what_celery_publishes_passes() -> None:
    check_broadcast(broadcast(EVENT), is_event=True)
    reply_to = {"exchange": "reply.celery.pidbox", "routing_key": "x"}
    for command in (COMMAND, COMMAND | {"destination": ["w@h"], "reply_to": reply_to}):
        check_broadcast(broadcast(command), is_event=False)


@pytest.mark.parametrize(
    "raw", [b"5", b"null", b"x", b"[1]", b"{}", b'{"properties": {}}', b"\xff"]
)
def test_what_is_no_envelope_is_refused(raw: bytes) -> None:
    for is_event in (True, False):
        with pytest.raises(MalformedMessageError):
            check_broadcast(raw, is_event=is_event)


@pytest.mark.parametrize(
    "raw",
    [
        *(broadcast(body) for body in (None, 5, [1], {}, COMMAND)),
        *(broadcast(EVENT | {"clock": clock}) for clock in (None, "7", True)),
        broadcast(EVENT | {"hostname": None}),
        broadcast(EVENT, **{"content-type": "application/x-python-serialize"}),
        broadcast(EVENT, body="%%%"),
    ],
)
def test_events_that_end_a_consumer_are_refused(raw: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        check_broadcast(raw, is_event=True)


@pytest.mark.parametrize(
    "change",
    [{"method": None}, {"arguments": 5}, {"destination": 5}, {"reply_to": "x"}],
)
def test_commands_that_celery_cannot_read_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(MalformedMessageError):
        check_broadcast(broadcast(COMMAND | change), is_event=False)
