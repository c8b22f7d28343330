"""Hostile event streams, generated and mutated from recordings, through all that reads them.

Bytes, frames, events, transcript, and the message outcome for a project that did not change.
``python -m tests.soak.streams --count 1000000 --seed 7`` prints a table of the streams.
"""

import random
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from operator import attrgetter

from tests.support.api_responses import HELLO, STREAMS, sse, text_event
from tests.support.options import parse_count_and_seed
from worker.nemo.question import asks_question
from worker.nemo.streaming.events import MAX_HELD_CHARACTERS, End, EventDecoder
from worker.nemo.streaming.sse import SseDecoder
from worker.nemo.streaming.transcript import MAX_CHARACTERS, Transcript
from worker.outcome import Evidence, MessageOutcome, StateReading, message_outcome

RECORDINGS = list(STREAMS.values())
MAX_LINE, MAX_EVENT = 2**14, 2**15
"""Limits that small streams reach too; larger limits hold in the same way."""
SINGLE_BYTES = 300
MEASURED = 200
"""Streams whose memory is measured, which is slow; each stream is on its own."""
ERROR = b'data: {"error": "boom"}\n\n'
BUFFERS = attrgetter(
    *(name for name, held in vars(SseDecoder()).items() if isinstance(held, bytes | bytearray))
)
UNCHANGED = StateReading("before", ready=True)

Kind = Callable[[random.Random], bytes]


def flipped(chance: random.Random) -> bytes:
    """A recording with some bytes changed, removed or added."""
    wire = bytearray(chance.choice(RECORDINGS))
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(wire))
        wire[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
    return bytes(wire)


def cut(chance: random.Random) -> bytes:
    """A recording that is cut off anywhere."""
    wire = chance.choice(RECORDINGS)
    return wire[: chance.randrange(len(wire))]


def shuffled(chance: random.Random) -> bytes:
    """Events of two recordings in any order, some repeated."""
    events = b"\n\n".join(chance.sample(RECORDINGS, 2)).split(b"\n\n")
    return b"\n\n".join(chance.choices(events, k=chance.randint(1, 20)))


def line_ends(chance: random.Random) -> bytes:
    """A recording with mixed line ends."""
    lines = chance.choice(RECORDINGS).split(b"\n")
    return b"".join(line + chance.choice([b"\n", b"\r", b"\r\n"]) for line in lines)


def noise(chance: random.Random) -> bytes:
    """Random bytes."""
    return chance.randbytes(chance.randint(0, 2000))


def fields(chance: random.Random) -> bytes:
    """Special cases of the format in any order."""
    pieces = [b"data:", b"data", b"event: heartbeat", b":", b"\xff\xfe", b"\x00", b"\xef\xbb\xbf"]
    pieces += [
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b'{"error":',
        b"heartbeat",
        b'"',
        b"{",
        b"}",
        b"id: 1",
    ]
    return b"".join(chance.choices(pieces, k=chance.randint(1, 60)))


def bomb(chance: random.Random) -> bytes:
    """JSON with extreme nesting, numbers or texts."""
    size = chance.choice([10, 1000, MAX_LINE - 20, MAX_LINE * 2, MAX_EVENT * 2])
    shape = chance.randrange(5)
    body = (
        b"[" * size,
        b'{"a":' * (size // 5),
        b'{"code":' + b"9" * size + b"}",
        b'{"content":{"parts":[{"text":"' + b"x" * size + b'"}]}}',
        b'{"errorCode":1e' + b"9" * min(size, 400) + b"}",
    )[shape]
    return b"data: " + body + b"\n\n"


def long_line(chance: random.Random) -> bytes:
    """A line, or an event of many lines, over its limit; complete or not."""
    if chance.random() < 0.5:
        body = b"data: " + b"x" * (MAX_LINE * chance.randint(1, 4))
    else:
        body = (b"data: " + b"x" * 1000 + b"\n") * (MAX_EVENT // 1000 * 2)
    return body + chance.choice([b"", b"\n\n", b"\n\n" + HELLO])


def heartbeats(chance: random.Random) -> bytes:
    """Only heartbeats, in every form."""
    kinds = [b"data:\n\n", b"data: heartbeat\n\n", b"event: heartbeat\n\n", b": ping\n\n"]
    return b"".join(chance.choices(kinds, k=chance.randint(1, 300)))


def pieces(chance: random.Random) -> bytes:
    """Pieces of a text whose whole text never arrives."""
    return sse(text_event("y" * 999, partial=True)) * chance.randint(1, 100)


KINDS: list[Kind] = [
    flipped, cut, shuffled, line_ends, noise, fields, bomb, long_line, heartbeats, pieces,
]  # fmt: skip


class StreamReader:
    """Reads one stream in pieces, and checks the limits after each piece."""

    def __init__(self) -> None:
        self.decoder = SseDecoder(max_line=MAX_LINE, max_event=MAX_EVENT)
        self.events = EventDecoder()
        self.transcript = Transcript()
        self.bytes = 0

    def take(self, piece: bytes) -> None:
        """Read a piece."""
        self.bytes += len(piece)
        for frame in self.decoder.feed(piece):
            for event in self.events.decode(frame):
                self.transcript.add(event)
        self._check()

    def end(self, *, clean: bool) -> Transcript:
        """Read the end."""
        for frame in self.decoder.close():
            for event in self.events.decode(frame):
                self.transcript.add(event)
        for event in self.events.finish():
            self.transcript.add(event)
        skipped = self.decoder.dropped + self.events.skipped
        self.transcript.add(End(clean, skipped=skipped))
        self._check()
        return self.transcript

    def _check(self) -> None:
        """Check the memory that is held, and the number of events for the bytes received."""
        assert held_bytes(self.decoder) <= MAX_LINE * 2 + MAX_EVENT
        assert self.events._held_characters <= MAX_HELD_CHARACTERS
        assert self.transcript._characters <= MAX_CHARACTERS
        assert self.transcript.events <= 2 * self.bytes + 2


def held_bytes(decoder: SseDecoder) -> int:
    """Return how many bytes of the stream a decoder holds."""
    return sum(map(len, BUFFERS(decoder)))


def sliced(wire: bytes, chance: random.Random) -> Iterator[bytes]:
    """Cut a stream into pieces of any size, in a part of it into single bytes, or not at all."""
    most = chance.choice([7, 997, len(wire) + 1]) if len(wire) <= 5000 else 65_536
    single_from = chance.randrange(len(wire) + 1) if chance.random() < 0.25 else len(wire)
    single_to = single_from + SINGLE_BYTES
    start = 0
    while start < len(wire):
        size = 1 if single_from <= start < single_to else chance.randint(1, most)
        yield wire[start : start + size]
        start += size


def outcome_of(transcript: Transcript) -> MessageOutcome:
    """The outcome of a message whose project did not change, after all readings."""
    clean = bool(transcript.clean) and transcript.error is None
    evidence = Evidence(
        ended_cleanly=clean,
        asks_question=asks_question(transcript.reply),
        has_tool_activity=transcript.tool_activity or bool(transcript.skipped),
        baseline=UNCHANGED.fingerprint,
        previous=UNCHANGED,
        current=UNCHANGED,
        readings=5,
        seconds_since_sent=10_000,
    )
    return message_outcome(evidence, min_readings=5, message_seconds=900)


def attempt(kind: Kind, chance: random.Random) -> MessageOutcome:
    """Read one hostile stream to its end, and check its outcome.

    Raises:
        AssertionError: A limit was exceeded, or the outcome could lose money.
    """
    wire = kind(chance)
    failed, clean = chance.random() < 0.3, chance.random() < 0.5
    if failed:
        # Two newlines end any event before them, whatever line ends it used.
        wire = chance.choice([ERROR + wire, wire + b"\n\n" + ERROR, ERROR + wire + ERROR])
    reader = StreamReader()
    for piece in sliced(wire, chance):
        reader.take(piece)
    transcript = reader.end(clean=clean)
    assert transcript.clean is clean
    if failed:
        assert transcript.error is not None, "an error was not reported"
    outcome = outcome_of(transcript)
    assert outcome is not MessageOutcome.DONE, "a success without a change of the state"
    if failed or not clean:
        assert outcome is MessageOutcome.UNKNOWN, "a broken stream counted as a reply"
    return outcome


def attempt_all(count: int, seed: int) -> tuple[Counter[str], int]:
    """Read this many streams.

    Returns:
        The outcomes by kind, and the peak memory in bytes of the first streams.
    """
    found: Counter[str] = Counter()
    peak = 0
    tracemalloc.start()
    for number in range(count):
        if number == MEASURED:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        kind = KINDS[number % len(KINDS)]
        try:
            outcome = attempt(kind, random.Random(f"{seed}/{number}"))
        except Exception as error:
            raise AssertionError(f"stream {number} ({kind.__name__}) of seed {seed}") from error
        found[f"{kind.__name__} {outcome}"] += 1
    if tracemalloc.is_tracing():
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return found, peak


def peak_of_endless(piece: bytes, count: int) -> int:
    """Return the peak memory in bytes while a piece is repeated without an end."""
    reader = StreamReader()
    tracemalloc.start()
    try:
        for _ in range(count):
            reader.take(piece)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def main() -> None:
    """Read streams and print a table of their outcomes."""
    chosen = parse_count_and_seed("tests.soak.streams", __doc__, count=10_000)
    found, peak = attempt_all(chosen.count, chosen.seed)
    for name, number in sorted(found.items()):
        sys.stdout.write(f"{name:20} {number:8}\n")
    sys.stdout.write(f"{sum(found.values())} streams, no failure; peak {peak >> 10} KiB\n")


if __name__ == "__main__":
    main()
