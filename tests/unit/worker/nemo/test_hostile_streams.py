"""Ten thousand hostile streams: bounded memory, no exception, no false success."""

import random

import pytest

from tests.soak.streams import (
    KINDS,
    MAX_EVENT,
    MAX_LINE,
    Kind,
    attempt_all,
    peak_of_endless,
)
from tests.support.api_responses import HELLO
from tests.unit.worker.loopback_server import Server
from tests.unit.worker.nemo.test_message_stream import ROUTE, Streamed
from worker.nemo.client import NemoClient
from worker.nemo.streaming.events import End
from worker.nemo.streaming.transcript import Transcript

CEILING = 64 * (MAX_LINE + MAX_EVENT)
"""Bytes, whatever the stream holds; JSON in memory takes many times the size of its text."""
ENDLESS_CEILING = 4 * (MAX_LINE + MAX_EVENT)
"""Bytes; fewer than any of the endless streams has."""


@pytest.mark.long
def test_hostile_streams_use_bounded_memory_and_never_succeed(seed: int) -> None:
    found, peak = attempt_all(10_000, seed)
    assert sum(found.values()) == 10_000
    assert peak < CEILING


@pytest.mark.parametrize(
    "piece",
    [
        b"x" * 65_536,
        b"data: " + b"x" * 60_000 + b"\n",
        b"data:\n\n" * 500,
        HELLO * 100,
        b": \n" * 999,
    ],
    ids=["a line", "an event", "heartbeats", "texts", "comments"],
)
def test_endless_input_uses_bounded_memory(piece: bytes) -> None:
    assert peak_of_endless(piece, 80) < ENDLESS_CEILING


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_hostile_stream_over_a_socket(kind: Kind, client: NemoClient, server: Server) -> None:
    wire = kind(random.Random(kind.__name__))
    pieces = [wire[n : n + 4093] for n in range(0, len(wire), 4093)]
    for ended in (True, False):
        server.on(ROUTE, Streamed(*pieces, ended=ended))
        transcript = Transcript()
        with client.message("ses", "go", read_timeout=30) as stream:
            events = list(stream)
        for event in events:
            transcript.add(event)
        assert [isinstance(event, End) for event in events].count(True) == 1
        assert transcript.clean is ended
