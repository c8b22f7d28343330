"""Celery messages as senders write them, and everything else that lies in a queue."""

import base64
import bz2
import json
import random
import zlib
from typing import Any

import pytest
from celery import Celery
from redis import Redis

from tests.support.mutations import mutated
from tests.support.valkey import Valkey
from worker.intake.messages import MalformedMessageError, read_message

CASES = 2000


def envelope(**changes: Any) -> dict[str, Any]:
    body = json.dumps([[{"image": "cat.jpg"}], {}, {"callbacks": None}]).encode()
    return {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": "tasks.submit", "id": "t-1", "eta": None},
        "properties": {"body_encoding": "base64", "delivery_tag": "d"},
        **changes,
    }


def raw(**changes: Any) -> bytes:
    return json.dumps(envelope(**changes)).encode()


@pytest.mark.usefixtures("redis")
@pytest.mark.parametrize("protocol", [1, 2])
@pytest.mark.parametrize("compression", [None, "gzip", "bzip2"])
def test_what_celery_sends_is_read(valkey: Valkey, protocol: int, compression: str | None) -> None:
    app = Celery("other", broker=valkey.url, set_as_current=False)
    app.conf.task_protocol = protocol
    app.send_task(
        "tasks.submit", [{"image": "größe.jpg"}], queue="q", task_id="t", compression=compression
    )
    app.close()
    with Redis.from_url(valkey.url) as client:
        (sent,) = client.lrange("q", 0, -1)
    message = read_message(sent)
    assert (message.task, message.id) == ("tasks.submit", "t")
    assert (message.args, message.kwargs) == ([{"image": "größe.jpg"}], {})


@pytest.mark.parametrize(
    ("compression", "pack"), [("application/x-gzip", zlib.compress), ("bzip2", bz2.compress)]
)
def test_a_body_that_unpacks_to_too_much_is_refused(compression: str, pack: Any) -> None:
    bomb = base64.b64encode(pack(b"0" * (64 * 2**20))).decode()
    headers = {**envelope()["headers"], "compression": compression}
    with pytest.raises(MalformedMessageError, match="too large"):
        read_message(raw(body=bomb, headers=headers))


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"null",
        b"5",
        b'"text"',
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        raw(headers=None),
        raw(headers=[]),
        raw(headers={"task": 5, "id": "t"}),
        raw(headers={"task": "tasks.submit"}),
        raw(headers={"task": "tasks.submit", "id": "a\nb"}),
        raw(headers={"task": "tasks.submit", "id": "\ud83d"}),
        raw(headers={"task": "tasks.submit", "id": "x" * 256}),
        raw(headers={"task": "two\nlines", "id": "t"}),
        raw(headers={**envelope()["headers"], "retries": "many"}),
        raw(headers={**envelope()["headers"], "callbacks": [{"task": 5}]}),
        raw(body=base64.b64encode(b'[[{}], {}, {"chain": {"task": "x"}}]').decode()),
        raw(body=None),
        raw(body="no base64!"),
        raw(body=base64.b64encode(b"{}").decode()),
        raw(body=base64.b64encode(b"[1, {}, {}]").decode()),
        raw(body=base64.b64encode(b"[[], [], {}]").decode()),
        raw(body=base64.b64encode(b"[[], {}]").decode()),
        raw(**{"content-type": "application/x-python-serialize"}),
        raw(properties=[]),
        raw(headers={**envelope()["headers"], "compression": "lz77"}),
        raw(headers={**envelope()["headers"], "compression": "bzip2"}),
        raw(headers={**envelope()["headers"], "eta": "soon"}),
        raw(headers={**envelope()["headers"], "expires": {}}),
    ],
)
def test_what_is_no_message_is_refused_without_quoting_it(message: bytes) -> None:
    with pytest.raises(MalformedMessageError) as caught:
        read_message(message)
    assert ".jpg" not in str(caught.value)


def test_any_mutation_is_read_or_refused(seed: int) -> None:
    chance = random.Random(seed)
    whole = raw()
    for _ in range(CASES):
        try:
            message = read_message(mutated(chance, whole))
        except MalformedMessageError:
            continue
        assert isinstance(message.args, list)
