"""Hostile event streams, generated and mutated from recordings, through all that hears them.

Bytes, frames, events, transcript, and the settlement's verdict over a project that did not
change. ``python -m tests.soak.streams --count 1000000 --seed 7`` prints what was tried.
"""

import argparse
import random
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from worker.nemo.streaming.events import MAX_HELD_CHARACTERS, End, EventDecoder
from worker.nemo.streaming.sse import SseDecoder
from worker.nemo.streaming.transcript import MAX_CHARACTERS, Transcript
from worker.outcome import Evidence, MessageOutcome, StateReading, message_outcome

RECORDINGS = [
    path.read_bytes()
    for path in sorted((Path(__file__).parents[1] / "fixtures" / "run_sse").glob("*.sse"))
]
MAX_LINE, MAX_EVENT = 2**14, 2**15
"""Caps that small streams reach too; what is bounded by them is so by any others."""
MEASURED = 500
ERROR = b'data: {"error": "boom"}\n\n'
HELLO = b'data: {"content":{"parts":[{"text":"hello"}]}}\n\n'
UNCHANGED = StateReading("before", ready=True)

Kind = Callable[[random.Random], bytes]


def flipped(chance: random.Random) -> bytes:
    """A recording with some bytes changed, lost or doubled."""
    wire = bytearray(chance.choice(RECORDINGS))
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(wire))
        wire[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
    return bytes(wire)


def cut(chance: random.Random) -> bytes:
    """A recording that stops anywhere."""
    wire = chance.choice(RECORDINGS)
    return wire[: chance.randrange(len(wire))]


def shuffled(chance: random.Random) -> bytes:
    """Events of several recordings in any order, some doubled."""
    events = b"\n\n".join(chance.sample(RECORDINGS, 2)).split(b"\n\n")
    return b"\n\n".join(chance.choices(events, k=chance.randint(1, 20)))


def line_ends(chance: random.Random) -> bytes:
    """A recording whose line ends are of all kinds."""
    lines = chance.choice(RECORDINGS).split(b"\n")
    return b"".join(line + chance.choice([b"\n", b"\r", b"\r\n"]) for line in lines)


def noise(chance: random.Random) -> bytes:
    """No UTF-8, no JSON, no events."""
    return chance.randbytes(chance.randint(0, 2000))


def fields(chance: random.Random) -> bytes:
    """Awkward pieces of the format in any order."""
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
    """JSON that nests, counts or talks without measure."""
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
    """A line, or an event of many lines, over its cap; with an end or without."""
    if chance.random() < 0.5:
        body = b"data: " + b"x" * (MAX_LINE * chance.randint(1, 4))
    else:
        body = (b"data: " + b"x" * 1000 + b"\n") * (MAX_EVENT // 1000 * 2)
    return body + chance.choice([b"", b"\n\n", b"\n\n" + HELLO])


def beats(chance: random.Random) -> bytes:
    """Nothing but heartbeats, of all kinds."""
    kinds = [b"data:\n\n", b"data: heartbeat\n\n", b"event: heartbeat\n\n", b": ping\n\n"]
    return b"".join(chance.choices(kinds, k=chance.randint(1, 300)))


def pieces(chance: random.Random) -> bytes:
    """Pieces of a text whose whole never comes."""
    piece = b'data: {"partial":true,"content":{"parts":[{"text":"' + b"y" * 999 + b'"}]}}\n\n'
    return piece * chance.randint(1, 100)


KINDS: list[Kind] = [
    flipped, cut, shuffled, line_ends, noise, fields, bomb, long_line, beats, pieces,
]  # fmt: skip


class Heard:
    """One stream, heard in pieces: the bounds are checked at each of them."""

    def __init__(self) -> None:
        self.decoder = SseDecoder(max_line=MAX_LINE, max_event=MAX_EVENT)
        self.events = EventDecoder()
        self.transcript = Transcript()
        self.bytes = 0

    def take(self, piece: bytes) -> None:
        """Hear a piece."""
        self.bytes += len(piece)
        for frame in self.decoder.feed(piece):
            for event in self.events.decode(frame):
                self.transcript.add(event)
        self._check()

    def end(self, *, clean: bool) -> Transcript:
        """Hear the end."""
        for frame in self.decoder.close():
            for event in self.events.decode(frame):
                self.transcript.add(event)
        for event in self.events.finish():
            self.transcript.add(event)
        skipped = self.decoder.dropped + self.events.skipped
        self.transcript.add(End(clean, None if clean else "cut", skipped))
        self._check()
        return self.transcript

    def _check(self) -> None:
        """Memory by what is held, time by what was given out for the bytes that came."""
        assert self.decoder.buffered <= MAX_LINE * 2 + MAX_EVENT
        assert self.events._held_characters <= MAX_HELD_CHARACTERS
        assert self.transcript._characters <= MAX_CHARACTERS
        assert self.transcript.events <= 2 * self.bytes + 2


def sliced(wire: bytes, chance: random.Random) -> Iterator[bytes]:
    """The wire in pieces: of single bytes, of any sizes, or whole."""
    most = chance.choice([1, 7, 997, len(wire) + 1]) if len(wire) <= 5000 else 65_536
    start = 0
    while start < len(wire):
        size = chance.randint(1, most)
        yield wire[start : start + size]
        start += size


def outcome_of(heard: Transcript) -> MessageOutcome:
    """What the settlement says when the project did not change, after all readings."""
    clean = bool(heard.clean) and heard.error is None
    evidence = Evidence(
        ended_cleanly=clean,
        has_text=bool(heard.reply),
        has_tool_activity=heard.tool_activity or bool(heard.skipped),
        baseline=UNCHANGED.fingerprint,
        previous=UNCHANGED,
        current=UNCHANGED,
        readings=5,
        seconds_since_sent=10_000,
    )
    return message_outcome(evidence, min_readings=5, message_seconds=900)


def attempt(kind: Kind, chance: random.Random) -> MessageOutcome:
    """Hear one hostile stream to its end, and judge it.

    Raises:
        AssertionError: A bound or the money rule was broken.
    """
    wire = kind(chance)
    failed, clean = chance.random() < 0.3, chance.random() < 0.5
    if failed:
        # Two blank lines end whatever came before, whichever line ends it used.
        wire = chance.choice([ERROR + wire, wire + b"\n\n" + ERROR, ERROR + wire + ERROR])
    heard = Heard()
    for piece in sliced(wire, chance):
        heard.take(piece)
    transcript = heard.end(clean=clean)
    assert transcript.clean is clean
    if failed:
        assert transcript.error is not None, "an error went unheard"
    outcome = outcome_of(transcript)
    assert outcome is not MessageOutcome.DONE, "a success without a change of the state"
    if failed or not clean:
        assert outcome is MessageOutcome.UNKNOWN, "a broken stream taken for an answer"
    return outcome


def attempt_all(count: int, seed: int) -> tuple[Counter[str], int]:
    """Try so many streams.

    Returns:
        Verdicts by kind, and the most bytes that were in use. Those are measured over the first
        streams only: it is slow, and each stream is on its own.
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
    """The most bytes in use while a piece comes so many times and nothing ends."""
    heard = Heard()
    tracemalloc.start()
    try:
        for _ in range(count):
            heard.take(piece)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def main() -> None:
    """Try streams, and print a table of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    chosen = parser.parse_args()
    sys.stdout.write(f"seed {chosen.seed}\n")
    found, peak = attempt_all(chosen.count, chosen.seed)
    for name, number in sorted(found.items()):
        sys.stdout.write(f"{name:20} {number:8}\n")
    sys.stdout.write(f"{sum(found.values())} streams, none broke a rule; peak {peak >> 10} KiB\n")


if __name__ == "__main__":
    main()
