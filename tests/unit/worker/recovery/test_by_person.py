"""A recovery by a person, while another process changes the ledger or its journal."""

from collections.abc import Callable, Iterator

import pytest

from tests.unit.worker.recovery.conftest import Scene
from worker.journal.journal import Journal, Page
from worker.recovery.by_person import RETRY_SECONDS, OtherJournalError, recover_by_person
from worker.recovery.job_restorer import Counts
from worker.storage.store import Store


class DisturbedJournal(Journal):
    """A journal during whose first page another process does something, once."""

    def __init__(self, journal: Journal, disturb: Callable[[], object]) -> None:
        super().__init__(journal.store, "rq")
        self._disturbances = [disturb]

    def pages(self, after: str = "", since: float = 0.0) -> Iterator[Page]:
        for page in super().pages(after, since):
            if self._disturbances:
                self._disturbances.pop()()
            yield page


def recover(scene: Scene, disturb: Callable[[], object], pauses: list[float]) -> Counts:
    output = Store((scene.folder / "output").as_uri())
    journal = DisturbedJournal(scene.journal, disturb)
    return recover_by_person(scene.ledger, journal, output, pause=pauses.append)


@pytest.fixture
def lost(scene: Scene) -> Scene:
    """A ledger that has lost two jobs that were paid."""
    scene.guard().check()
    for number in range(2):
        scene.pay(f"job-{number}")
    scene.redis.flushdb()
    return scene


def test_it_pauses_before_it_continues_a_recovery_that_a_worker_has_joined(lost: Scene) -> None:
    now, pauses = 0.0, list[float]()
    worker = lost.guard("worker", clock=lambda: now)

    def join() -> None:
        nonlocal now
        begun = worker.begin(worker.compare())
        now = 1000.0
        worker.advance(begun, "00")

    counts = recover(lost, join, pauses)
    assert pauses == [RETRY_SECONDS]
    assert counts.resumed == 2
    assert [lost.job(f"job-{number}").call for number in range(2)]


def test_it_ends_if_the_ledger_is_moved_to_another_journal_meanwhile(lost: Scene) -> None:
    def move() -> None:
        lost.redis.flushdb()
        lost.redis.hset("meta:{rq}", "journal_id", "another")

    pauses: list[float] = []
    with pytest.raises(OtherJournalError):
        recover(lost, move, pauses)
    assert len(pauses) == 1
