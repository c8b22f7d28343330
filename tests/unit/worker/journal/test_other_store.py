"""The journal on a real FTP server, which is reached over a single connection."""

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support.ftp import ftp_server
from tests.unit.worker.journal.conftest import entry
from worker.journal.journal import Creation, Journal
from worker.journal.other_store import OtherJournalStore
from worker.journal.stores import JournalFailed

THREADS = 4


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ftp_server(tmp_path_factory.mktemp("ftp")) as url:
        yield url


@pytest.fixture
def journal(server: str, request: pytest.FixtureRequest) -> Journal:
    return Journal.open(f"{server}/{request.node.name}", "rq")


def test_a_lost_connection_is_opened_again(journal: Journal) -> None:
    """A server closes an idle connection: the attempt after the failed one connects again."""
    journal.create(entry())
    store = journal.store
    assert isinstance(store, OtherJournalStore)
    store._connection._fs.ftp.sock.shutdown(socket.SHUT_RDWR)
    with pytest.raises(JournalFailed):
        journal.create(entry(2))
    assert journal.create(entry(2)) is Creation.CREATED
    assert [each.number for each in journal.attempts("job-1")] == [1, 2]


def test_callers_at_the_same_time_read_their_own_entries(journal: Journal) -> None:
    """Greenlets share the connection; the answer to one must not be read by another."""
    problems: list[str] = []

    def work(number: int) -> None:
        job_id = f"job-{number}"
        try:
            for attempt in (1, 2, 3):
                journal.create(entry(attempt, job_id=job_id))
                found = journal.attempt(job_id, attempt)
                if found is None or found.entry != entry(attempt, job_id=job_id):
                    problems.append(f"{job_id}: {found}")
        except Exception as error:  # noqa: BLE001 - asserted below
            problems.append(repr(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []


def test_one_of_several_callers_in_a_process_creates_an_entry(journal: Journal) -> None:
    """Without exclusive creation on the server, callers in one process exclude each other."""
    found: list[Creation] = []
    start = threading.Barrier(THREADS)

    def create(number: int) -> None:
        start.wait(60)
        found.append(journal.create(entry(nonce=f"caller {number}")))

    threads = [threading.Thread(target=create, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(found) == [Creation.CREATED, *[Creation.OTHERS] * (THREADS - 1)]
