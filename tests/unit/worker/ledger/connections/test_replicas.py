"""Submissions and intents to pay that replicas must confirm."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from tests.support.ledger_access import submit_pages
from tests.support.sentinel import start_replica
from tests.support.valkey import Valkey
from tests.support.waiting import wait_until
from worker.ledger.connections.replicas import NotReplicatedError, Replicas
from worker.ledger.ledger import Ledger
from worker.ledger.model.submissions import NewJob
from worker.ledger.payments import Payments
from worker.runtime.checks.durability import describe, reasons_not_to_pay
from worker.runtime.checks.replication import check_failover


@dataclass
class Pair:
    """A primary with a replica."""

    primary: Valkey
    replica: Valkey
    client: Redis

    def ledger(self, replicas: Replicas) -> Ledger:
        return Ledger(self.client, "t", lease_seconds=30, replicas=replicas)


FSYNC = Replicas(count=1, fsync=True, timeout_ms=60_000)
MEMORY = Replicas(count=1, fsync=False, timeout_ms=60_000)
BRIEF = [Replicas(count=1, fsync=fsync, timeout_ms=100) for fsync in (True, False)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("pair")
        primary = Valkey(folder / "primary", "--repl-diskless-sync-delay", "0").start()
        stack.callback(primary.stop)
        replica = start_replica(folder / "replica", primary)
        stack.callback(replica.stop)
        yield Pair(primary, replica, stack.enter_context(primary.client()))


@pytest.fixture(autouse=True)
def empty(pair: Pair) -> Iterator[None]:
    """Start each test with an empty ledger and a replica that answers."""
    pair.client.flushall()
    yield
    pair.replica.resume()
    wait_until(lambda: pair.client.wait(1, 1000) == 1, "the replica to answer")


def new_job(job_id: str) -> NewJob:
    return NewJob(id=job_id, payload={}, fingerprint="f", key=job_id)


def running_job(ledger: Ledger) -> str:
    """Submit and claim a job that can pay, and return its fence."""
    assert ledger.submit(new_job("j")).verdict == "OK"
    Payments(ledger).record_balance("a", read_at=1, available=1000, frozen=0, total=1000)
    assert ledger.due(1, room=1, admit=1)
    fence = ledger.claim("j", "w", "n").fence
    assert ledger.update_facts("j", fence, {"account": "a"})
    return fence


def begin(ledger: Ledger, fence: str) -> str:
    return Payments(ledger).begin("j", fence, turn=1, call="c1", cost=100, cap=10).verdict


@pytest.mark.parametrize("replicas", [FSYNC, MEMORY], ids=["fsync", "memory"])
def test_what_is_confirmed_is_on_the_replica(pair: Pair, replicas: Replicas) -> None:
    ledger = pair.ledger(replicas)
    fence = running_job(ledger)
    assert begin(ledger, fence) == "OK"
    (answers,) = submit_pages(ledger, [[new_job("k"), new_job("l")]])
    assert [answer.verdict for answer in answers] == ["OK", "OK"]
    with pair.replica.client() as replica:
        assert replica.hget("job:{t}:j", "call:1") == "c1"
        assert replica.exists("job:{t}:k", "job:{t}:l") == 2


@pytest.mark.parametrize("replicas", BRIEF, ids=["fsync", "memory"])
def test_without_a_replica_nothing_is_submitted_and_nothing_paid(
    pair: Pair, replicas: Replicas
) -> None:
    """A repeated call on a connection that has written nothing is not confirmed either."""
    fence = running_job(pair.ledger(FSYNC))
    pair.replica.freeze()
    for _ in range(2):
        with pair.primary.client() as client:
            ledger = Ledger(client, "t", lease_seconds=30, replicas=replicas)
            with pytest.raises(NotReplicatedError, match="0 of 1 replicas"):
                begin(ledger, fence)
            with pytest.raises(NotReplicatedError):
                ledger.submit(new_job("k"))
            with pytest.raises(NotReplicatedError):
                next(submit_pages(ledger, [[new_job("l")]]))
    pair.replica.resume()
    ledger = pair.ledger(FSYNC)
    assert begin(ledger, fence) == "OK"
    assert ledger.submit(new_job("k")).verdict == "DUPLICATE"


def test_scripts_are_loaded_again_on_a_server_that_lost_them(pair: Pair) -> None:
    ledger = pair.ledger(FSYNC)
    assert ledger.submit(new_job("j")).verdict == "OK"
    pair.client.script_flush()
    assert ledger.submit(new_job("k")).verdict == "OK"


def test_more_replicas_than_are_connected_prevent_payments(pair: Pair) -> None:
    (reason,) = reasons_not_to_pay(pair.ledger(Replicas(count=2)), "fsync")
    assert (reason.check, reason.found) == ("replicas", "1 connected of 2 that must confirm")
    assert reasons_not_to_pay(pair.ledger(FSYNC), "fsync") == ()
    assert reasons_not_to_pay(pair.ledger(MEMORY), "journal") == ()


def test_doctor_says_what_a_failover_can_lose(pair: Pair) -> None:
    none = check_failover(pair.ledger(Replicas()), has_sentinel=True)
    assert none.ok
    assert "can lose the last writes: set REELQUEUE_REPLICAS=1" in none.found
    unguarded = check_failover(pair.ledger(FSYNC), has_sentinel=True)
    assert not unguarded.ok
    assert unguarded.remedy.startswith("set min-replicas-to-write 1")
    pair.client.config_set("min-replicas-to-write", 1)
    assert check_failover(pair.ledger(FSYNC), has_sentinel=True).ok
    pair.client.config_set("min-replicas-to-write", 0)


def test_doctor_names_missing_replicas(tmp_path: Path) -> None:
    server = Valkey(tmp_path / "alone").start()
    try:
        with server.client() as client:
            ledger = Ledger(client, "t", lease_seconds=30)
            assert check_failover(ledger, has_sentinel=False).ok
            missing = check_failover(ledger, has_sentinel=True)
            assert (missing.ok, missing.found) == (False, "not possible: no replica is connected")
    finally:
        server.stop()


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_a_server_without_waitaof_is_refused_and_nothing_is_paid(tmp_path: Path) -> None:
    server = Valkey(tmp_path / "old", program=shutil.which("redis-server")).start()
    try:
        with server.client() as client:
            info = client.info("server")
            assert isinstance(info, dict)
            if not str(info["redis_version"]).startswith("7.0."):
                pytest.skip("this redis-server knows WAITAOF")
            fence = running_job(Ledger(client, "t", lease_seconds=30))
            ledger = Ledger(client, "t", lease_seconds=30, replicas=FSYNC)
            reasons = reasons_not_to_pay(ledger, "fsync")
            assert describe(reasons).startswith("replicas is not able to confirm: the server ")
            with pytest.raises(ResponseError, match="unknown command"):
                begin(ledger, fence)
    finally:
        server.stop()
