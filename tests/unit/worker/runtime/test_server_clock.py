"""The clock of the Redis server is set: leases, polls and dead workers' jobs are not affected."""

import pytest
from redis import Redis

from tests.unit.worker.ledger.conftest import CLOCK, LEASE, LedgerHarness
from worker.ledger.ledger import Ledger
from worker.ledger.model.states import State
from worker.ledger.model.steps import Commit
from worker.ledger.payments import Payments
from worker.runtime.server_clock import (
    SLEW_SECONDS,
    ClockReading,
    ServerClock,
    corrected_offset,
    shrunk_offset,
)

HOUR = 3_600_000


def reading(at: float, time: int, offset: int = 0, last_tick: int = 0) -> ClockReading:
    return ClockReading(at, time, offset, last_tick)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (None, reading(5, 100_000), None),
        (reading(0, 100_000), reading(10, 110_000), None),
        (reading(0, 100_000), reading(10, 111_500), None),
        (reading(0, 100_000), reading(10, 110_000 + HOUR), -HOUR),
        (reading(0, 100_000 + HOUR), reading(10, 110_000), HOUR),
        (reading(0, 100_000, 500), reading(10, 110_000 + HOUR, 500), 500 - HOUR),
        # Another worker has corrected it, or the ledger was flushed.
        (reading(0, 100_000), reading(10, 110_000 + HOUR, -HOUR), None),
        (reading(0, 100_000, -HOUR), reading(10, 110_000, 0), None),
        # Nobody watched while it was set back.
        (None, reading(5, 100_000, 0, 100_000 + HOUR), HOUR),
        (None, reading(5, 100_000, 0, 101_000), None),
    ],
)
def test_the_offset_takes_a_jump_back(
    before: ClockReading | None, now: ClockReading, expected: int | None
) -> None:
    assert corrected_offset(before, now) == expected


def test_an_offset_shrinks_slowly_and_not_past_zero() -> None:
    assert [shrunk_offset(offset, 10) for offset in (HOUR, -HOUR, 300, -300, 0)] == [
        HOUR - 500,
        500 - HOUR,
        0,
        0,
        0,
    ]


def read_clock(ledger: Ledger) -> tuple[int, int, int]:
    """Read the clock as a process that does not lead."""
    time, offset, last_tick, *_ = ledger.scripts.run("watch", "", 0, 0, 0, "")
    return time, offset, last_tick


class Server:
    """A ledger whose server's clock a test sets, with processes whose own clocks nobody sets."""

    def __init__(self, harness: LedgerHarness) -> None:
        self.harness = harness
        self.ledger: Ledger = harness.ledger
        self.own = 0.0
        self.clocks = [ServerClock(self.ledger, lambda: self.own) for _ in range(2)]
        self.check()

    def check(self) -> list[int]:
        """Let each process check the clock."""
        return [clock.check(lambda: read_clock(self.ledger)) for clock in self.clocks]

    def later(self, seconds: float) -> None:
        """Let time pass, on all clocks."""
        self.own += seconds
        self.harness.later(seconds)

    def set_clock(self, hours: float) -> None:
        """Set the server's clock forward or back."""
        self.harness.later(hours * 3600)

    def offset(self) -> int:
        return read_clock(self.ledger)[1]

    def due(self) -> list[str]:
        """The jobs that are due now, or after the grace period of an outage."""
        return sorted(job_id for job_id, _ in self.ledger.due(9, room=9, admit=0))


@pytest.fixture
def server(redis: Redis) -> Server:
    redis.set("test:clock", 1_000_000_000)
    ledger = Ledger(redis, "t", lease_seconds=LEASE, clock=CLOCK)
    return Server(LedgerHarness(redis, ledger, Payments(ledger)))


@pytest.mark.parametrize("hours", [-1, 1])
def test_healthy_jobs_stay_with_their_workers_and_those_of_dead_ones_do_not_wait(
    server: Server, hours: int
) -> None:
    """One job has an owner, one waits 30 s for its next poll, one's worker dies at the jump."""
    harness = server.harness
    healthy, dead = (harness.running(job_id) for job_id in ("healthy", "dead"))
    polled = harness.running("polled")
    assert server.ledger.commit("polled", polled, Commit(State.RENDERING, delay=30))
    server.due()
    server.set_clock(hours)
    assert sum(server.check()) == -hours * HOUR
    assert server.due() == []
    for job_id in ("healthy", "dead"):
        assert server.ledger.claim(job_id, "other", "n2").verdict == "BUSY"
    assert server.ledger.claim("polled", "other", "n2").verdict == "EARLY"
    passed = 0.0
    while passed < max(LEASE, 30) + 2:
        server.later(LEASE / 4)
        passed += LEASE / 4
        assert server.check() == [0, 0]
        assert server.ledger.heartbeat([("healthy", healthy)]) == [True]
        found = server.due()
        assert "healthy" not in found
    assert server.ledger.claim("dead", "other", "n3").verdict == "OK"
    assert server.ledger.claim("polled", "other", "n3").verdict == "OK"
    assert server.ledger.claim("healthy", "other", "n3").verdict == "BUSY"
    assert not server.ledger.heartbeat([("dead", dead)])[0]


def test_the_clock_of_the_records_becomes_that_of_the_server_again(server: Server) -> None:
    server.set_clock(0.001)
    server.check()
    assert server.offset() == -3600
    for _ in range(10):
        server.later(SLEW_SECONDS)
        assert server.check() == [0, 0]
    assert server.offset() == 0


def test_a_process_that_starts_after_the_clock_was_set_back_corrects_it(server: Server) -> None:
    server.due()
    server.set_clock(-1)
    assert ServerClock(server.ledger, lambda: 0.0).check(lambda: read_clock(server.ledger)) == HOUR
    assert server.due() == []


def test_a_slow_reading_changes_nothing(server: Server) -> None:
    ticks = iter([0.0, 0.0, 0.1, 10.0, 20.0])
    clock = ServerClock(server.ledger, lambda: next(ticks))
    assert clock.check(lambda: read_clock(server.ledger)) == 0
    server.set_clock(1)
    assert clock.check(lambda: read_clock(server.ledger)) == 0
    assert server.offset() == 0


def test_a_record_that_is_no_hash_has_no_offset(redis: Redis) -> None:
    redis.set("meta:{t}", "text")
    ledger = Ledger(redis, "t", lease_seconds=30)
    assert ledger.now_ms() > 0
    assert ServerClock(ledger).check(lambda: read_clock(ledger)) == 0
