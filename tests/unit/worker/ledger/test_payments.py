"""The intent to pay counts only once it is on disk."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.ledger_access import submit_many
from tests.support.valkey import Valkey
from tests.unit.worker.ledger.conftest import CLOCK, LEASE, LedgerHarness
from worker.ledger.ledger import Ledger
from worker.ledger.model.submissions import NewJob
from worker.ledger.payments import Payments


@contextmanager
def server_and_harness(folder: Path) -> Iterator[tuple[Valkey, LedgerHarness]]:
    """A server of its own, and a ledger on it."""
    server = Valkey(folder).start()
    try:
        with server.client() as client:
            client.set("test:clock", 1_000_000_000)
            ledger = Ledger(client, "t", lease_seconds=LEASE, clock=CLOCK)
            yield server, LedgerHarness(client, ledger, Payments(ledger))
    finally:
        server.stop()


def test_heartbeats_and_submissions_continue_after_a_server_restart(tmp_path: Path) -> None:
    """A restarted server has no scripts."""
    with server_and_harness(tmp_path) as (server, harness):
        ledger, fence = harness.ledger, harness.running()
        assert ledger.heartbeat([("j", fence)]) == [True]
        many = [NewJob(id="k", payload={}, fingerprint="f")]
        assert [answer.verdict for answer in submit_many(ledger, many)] == ["OK"]
        server.stop()
        server.start()
        assert ledger.heartbeat([("j", fence)]) == [True]
        server.stop()
        server.start()
        assert [answer.verdict for answer in submit_many(ledger, many)] == ["DUPLICATE"]
        assert harness.begin("j", fence) == "OK"


def test_an_intent_survives_the_death_of_the_server(tmp_path: Path) -> None:
    with server_and_harness(tmp_path) as (server, harness):
        fence = harness.running()
        assert harness.begin("j", fence) == "OK"
        server.stop()
        server.start()
        assert harness.begin("j", fence, call="c2") == "ALREADY"
