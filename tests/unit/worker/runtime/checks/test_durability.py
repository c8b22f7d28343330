"""Which servers a worker pays on, and that those servers flush before they reply."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from config.settings import Durability
from tests.support.valkey import Valkey
from tests.support.waiting import wait_until
from worker.ledger.ledger import Ledger
from worker.ledger.model.submissions import NewJob
from worker.ledger.payments import Payments
from worker.runtime.checks.durability import CHECKS, describe, reasons_not_to_pay

SERVERS = [
    "valkey",
    pytest.param(
        "redis-server",
        marks=pytest.mark.skipif(
            shutil.which("redis-server") is None, reason="Debian's redis-server is not installed"
        ),
    ),
]


@contextmanager
def running(folder: Path, *flags: str, program: str = "valkey") -> Iterator[Valkey]:
    """A server of its own with these flags."""
    path = None if program == "valkey" else shutil.which(program)
    server = Valkey(folder, *flags, program=path).start()
    try:
        yield server
    finally:
        server.stop()


def ledger_on(client: Redis) -> Ledger:
    return Ledger(client, "t", lease_seconds=30)


@pytest.mark.parametrize("program", SERVERS)
@pytest.mark.parametrize(
    ("flags", "durability", "reason"),
    [
        ((), "fsync", ""),
        (("--appendfsync", "everysec"), "fsync", "appendfsync is everysec: set appendfsync always"),
        (("--appendfsync", "no"), "fsync", "appendfsync is no: set appendfsync always"),
        (("--appendonly", "no"), "fsync", "append-only file is off: start Redis with appendonly"),
        (("--no-appendfsync-on-rewrite", "yes"), "fsync", "rewrite is no-appendfsync-on-rewrite"),
        (("--maxmemory-policy", "allkeys-lru"), "fsync", "eviction is allkeys-lru"),
        (("--rename-command", "CONFIG", "HIDDEN"), "fsync", "appendfsync is cannot be read"),
        (("--rename-command", "CONFIG", "HIDDEN"), "journal", ""),
        (("--appendonly", "no"), "journal", ""),
        (("--appendfsync", "everysec"), "journal", ""),
        (("--maxmemory-policy", "allkeys-lru"), "journal", "eviction is allkeys-lru"),
    ],
)
def test_a_server_that_may_lose_a_payment_prevents_payments(
    tmp_path: Path, program: str, flags: tuple[str, ...], durability: Durability, reason: str
) -> None:
    with running(tmp_path, *flags, program=program) as server, server.client() as client:
        found = reasons_not_to_pay(ledger_on(client), durability)
    assert describe(found).startswith(reason)
    assert bool(found) == bool(reason)
    assert {result.check for result in found} <= set(CHECKS)


def test_a_replica_prevents_payments_and_says_where_to_point(tmp_path: Path) -> None:
    with (
        running(tmp_path / "primary") as primary,
        running(tmp_path / "replica", "--replicaof", f"127.0.0.1 {primary.port}") as replica,
        replica.client() as client,
    ):
        (found,) = reasons_not_to_pay(ledger_on(client), "fsync")
    assert (found.check, found.found) == ("role", "replica")
    assert "REDIS_URL" in found.remedy


def test_a_server_that_is_nearly_full_prevents_payments(tmp_path: Path) -> None:
    with running(tmp_path) as server, server.client() as client:
        memory = client.info("memory")
        assert isinstance(memory, dict)
        client.config_set("maxmemory", int(memory["used_memory"] * 1.05))
        (found,) = reasons_not_to_pay(ledger_on(client), "fsync")
    assert found.check == "memory"
    assert "reelqueue prune" in found.remedy


def test_a_server_that_does_not_answer_prevents_payments(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        client = server.client()
    with client:
        (found,) = reasons_not_to_pay(ledger_on(client), "journal")
    assert found.check == "Redis"


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("program", SERVERS)
def test_no_intent_is_confirmed_before_it_is_on_disk(tmp_path: Path, program: str) -> None:
    """Traces the system calls of the server: each reply to an intent follows its own fsync."""
    trace = tmp_path / "trace"
    with running(tmp_path / "data", program=program) as server, server.client() as client:
        ledger = ledger_on(client)
        payments = Payments(ledger)
        ledger.scripts.run("balance", "a", 1, 1000, 0, 1000)
        fences = [running_job(ledger, f"job-{number}") for number in range(5)]
        assert server.process is not None
        command = [
            *("strace", "-f", "-y", "-s", "4096", "-e", "trace=write,sendto,fdatasync,fsync"),
            *("-o", str(trace), "-p", str(server.process.pid)),
        ]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as tracer:
            assert tracer.stderr is not None
            tracer.stderr.readline()
            intents = [
                payments.begin(f"job-{n}", fence, turn=1, call=f"call-{n}", cost=1, cap=50)
                for n, fence in enumerate(fences)
            ]
            tracer.terminate()
    assert [intent.verdict for intent in intents] == ["OK"] * len(fences)
    lines = trace.read_text(errors="replace").splitlines()
    for number in range(len(fences)):
        at = next(i for i, line in enumerate(lines) if f"call-{number}" in line and "aof" in line)
        rest = [kind for line in lines[at + 1 :] if (kind := kind_of(line))]
        assert rest[0] == "fsync", rest[:3]


def kind_of(line: str) -> str:
    """What a traced call is: a flush of the append-only file, a reply, or "" for others."""
    if re.search(r"(fdatasync|fsync)\(\d+<[^>]*aof", line):
        return "fsync"
    return "reply" if re.search(r"(write|sendto)\(\d+<(socket|TCP)", line) else ""


def running_job(ledger: Ledger, job_id: str) -> str:
    """Claim a job that is about to pay; the fence."""
    ledger.submit(NewJob(id=job_id, payload={}, fingerprint="f"))
    due = wait_until(lambda: ledger.due(1, room=1, admit=100), "the job to be due")
    assert due[0][0] == job_id
    fence = ledger.claim(job_id, "w", job_id).fence
    ledger.update_facts(job_id, fence, {"account": "a"})
    return fence
