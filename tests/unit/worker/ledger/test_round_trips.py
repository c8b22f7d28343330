"""What one call asks of the server: nobody else is answered while it runs."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from redis import Connection, ConnectionPool, Redis

from tests.support.ledger_access import submit_many
from tests.support.valkey import Valkey
from tests.unit.worker.ledger.conftest import CLOCK, LEASE, LedgerHarness
from worker.ledger.ledger import Ledger
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.model.submissions import NewJob
from worker.ledger.pages import MOVES_PER_CALL

JOBS = 3 * MOVES_PER_CALL
IDS = [f"job-{number:03}" for number in range(JOBS)]


class RecordingConnection(Connection):
    """Remembers what was sent at a time."""

    sent: list[bytes]

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send what was packed."""
        self.sent.append(b"".join(command) if isinstance(command, list) else command)
        super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]


def hold(harness: LedgerHarness) -> None:
    held = Commit(State.HELD, reason=Reason.CREDITS, resume=State.PREPARING)
    for job_id in harness.admit(JOBS):
        assert harness.ledger.commit(job_id, harness.claim(job_id), held)


def fail(harness: LedgerHarness) -> None:
    for job_id in harness.admit(JOBS):
        end = Commit(State.FAILED, reason=Reason.BAD_IMAGE)
        assert harness.ledger.commit(job_id, harness.claim(job_id), end)


CALLS: dict[str, tuple[Callable[[LedgerHarness], object], Callable[[Ledger], object]]] = {
    "release": (hold, lambda ledger: ledger.release_many(IDS)),
    "retry": (fail, lambda ledger: ledger.retry_many(IDS)),
    "cancel": (hold, lambda ledger: ledger.cancel_many(IDS)),
    "cancel those that wait": (lambda _: None, lambda ledger: list(ledger.cancel_waiting("b"))),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_for_many_jobs_lets_others_be_answered(
    harness: LedgerHarness, valkey: Valkey, name: str
) -> None:
    prepare, call = CALLS[name]
    harness.ledger.open_batch("b", "b", 1)
    jobs = [NewJob(id=job_id, payload={}, fingerprint="f", batch_id="b") for job_id in IDS]
    submit_many(harness.ledger, jobs)
    prepare(harness)
    sent: list[bytes] = []
    kind = type("Recording", (RecordingConnection,), {"sent": sent})
    pool = ConnectionPool.from_url(valkey.url, decode_responses=True, connection_class=kind)
    with Redis(connection_pool=pool) as client:
        answers = call(Ledger(client, "t", lease_seconds=LEASE, clock=CLOCK))
    assert isinstance(answers, list)
    assert len(answers) == JOBS
    most = max(max(len(re.findall(rb"job-\d{3}", text)), text.count(b"EVALSHA")) for text in sent)
    assert most <= MOVES_PER_CALL
    if name == "cancel those that wait":
        assert len([text for text in sent if b"EVALSHA" in text]) == JOBS / MOVES_PER_CALL
    pool.disconnect()
