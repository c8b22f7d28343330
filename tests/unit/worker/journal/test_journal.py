"""The journal on each kind of store: exclusive attempts, marks, ends, and what is unreadable."""

import threading
from dataclasses import replace

import pytest

from tests.unit.worker.journal.conftest import entry
from worker.journal.attempts import AdoptAttempt, OpenAttempt, next_attempt
from worker.journal.entries import End, Entry, Mark, UnreadableEntryError
from worker.journal.journal import Attempt, Creation, Journal
from worker.journal.stores import UNKNOWN_TIME, JournalFailed


def test_an_attempt_is_created_once_and_read_back_whole(journal: Journal) -> None:
    assert journal.attempt("job-1", 1) is None
    assert journal.create(entry()) is Creation.CREATED
    found = journal.attempt("job-1", 1)
    assert found is not None
    assert found.entry == entry()
    assert found.may_be_charged


def test_the_same_process_finds_its_own_entry_again(journal: Journal) -> None:
    journal.create(entry())
    assert journal.create(entry()) is Creation.CREATED


def test_the_entry_of_another_process_is_not_taken_for_its_own(journal: Journal) -> None:
    journal.create(entry())
    assert journal.create(entry(nonce="theirs")) is Creation.OTHERS
    found = journal.attempt("job-1", 1)
    assert found is not None
    assert found.entry is not None
    assert found.entry.nonce == "mine"


def test_a_mark_says_that_the_attempt_was_not_charged(journal: Journal) -> None:
    journal.create(entry())
    journal.mark("job-1", 1, Mark.NOT_SENT, "older than 10 s")
    journal.mark("job-1", 1, Mark.NOT_SENT, "older than 10 s")
    found = journal.attempt("job-1", 1)
    assert found is not None
    assert found.mark is Mark.NOT_SENT
    assert not found.may_be_charged


def test_a_closed_attempt_cannot_be_created_any_more(journal: Journal) -> None:
    closing = replace(entry(), mark=Mark.NEVER_SENT)
    assert journal.create(closing) is Creation.CREATED
    assert journal.create(entry(nonce="late sender")) is Creation.OTHERS
    found = journal.attempt("job-1", 1)
    assert found is not None
    assert found.mark is Mark.NEVER_SENT


def test_the_last_attempt_is_found_and_an_end_replaces_an_earlier_one(journal: Journal) -> None:
    assert journal.attempts("job-1") == []
    for number in (1, 2, 3):
        journal.create(entry(number))
    assert journal.attempts("job-1")[-1].number == 3
    assert journal.ended("job-1", 1) is None
    journal.end(End("job-1", "failed", {"reason": "render_failed"}))
    journal.end(End("job-1", "succeeded", {"clip_name": "a/b", "sha256": "0f"}))
    assert journal.ended("job-1", 1) == End(
        "job-1", "succeeded", {"clip_name": "a/b", "sha256": "0f"}
    )


def test_a_late_failure_does_not_replace_a_success_of_the_same_payment(journal: Journal) -> None:
    """The worker that recorded it was frozen meanwhile; a recovery would restore the failure."""
    journal.end(End("job-1", "failed", attempt=1))
    journal.end(End("job-1", "succeeded", attempt=1))
    journal.end(End("job-1", "failed", attempt=1))
    assert journal.ended("job-1", 1) == End("job-1", "succeeded", attempt=1)
    journal.end(End("job-1", "succeeded", {"clip_name": "again"}, attempt=1))
    assert journal.ended("job-1", 1) == End("job-1", "succeeded", {"clip_name": "again"}, 1)
    journal.end(End("job-1", "failed", attempt=2))
    assert journal.ended("job-1", 2) == End("job-1", "failed", attempt=2)


def test_messages_of_one_session_point_to_the_next_one(journal: Journal) -> None:
    first, second = entry(), entry(job_id="job/2 ü")
    journal.create(first)
    journal.create(second)
    assert journal.next(first.name) is None
    assert journal.name_next(first.name, second)
    assert journal.name_next(first.name, second)
    assert not journal.name_next(first.name, entry(job_id="job-3"))
    assert journal.next(first.name) == second.name


def test_jobs_are_listed_in_one_order_and_from_any_place_in_it(journal: Journal) -> None:
    names = [f"job {number}/ü" for number in range(20)]
    for name in names:
        journal.create(entry(job_id=name))
    journal.mark(names[0], 1, Mark.NOT_CHARGED, "429")
    listed = list(journal.pages())
    found = {job_id: sorted(page.jobs[job_id]) for page in listed for job_id in page.jobs}
    assert found == {name: ["1"] for name in names} | {names[0]: ["1", "1.mark"]}
    for at in (0, 7, len(listed) - 1):
        assert list(journal.pages(after=listed[at].place)) == listed[at + 1 :]


def test_jobs_of_which_nothing_was_written_lately_are_left_out(journal: Journal) -> None:
    journal.create(entry())
    stored = journal.store.read(f"rq/jobs/{journal.place_of('job-1')}/1")
    assert stored is not None
    assert [list(page.jobs) for page in journal.pages(since=stored.modified)] == [["job-1"]]
    later = [list(page.jobs) for page in journal.pages(since=stored.modified + 5)]
    assert later == [["job-1"] if stored.modified == UNKNOWN_TIME else []]


def test_what_is_forgotten_is_gone(journal: Journal) -> None:
    journal.create(entry())
    journal.mark("job-1", 1, Mark.NOT_CHARGED, "429")
    journal.create(entry(2))
    journal.end(End("job-1", "succeeded"))
    journal.forget("job-1")
    assert journal.attempts("job-1") == []
    assert journal.ended("job-1", 1) is None


def test_half_an_entry_still_fences_its_attempt(journal: Journal) -> None:
    half = entry().to_json()[:50]
    journal.store.create(journal._attempt_key("job-1", 1), half, point="journal.create")
    found = journal.attempts("job-1")[-1]
    assert found.entry is None
    assert "not JSON" in found.problem
    assert found.may_be_charged
    assert journal.create(entry()) is Creation.OTHERS


def test_a_replacement_names_the_version_that_it_replaces(journal: Journal) -> None:
    store = journal.store
    assert not store.replace("rq/mirror", b"1", "none", point="journal.mirror")
    assert store.create("rq/mirror", b"1", point="journal.identity")
    found = store.read("rq/mirror")
    assert found is not None
    assert store.replace("rq/mirror", b"2", found.version, point="journal.mirror")
    assert not store.replace("rq/mirror", b"3", found.version, point="journal.mirror")
    now = store.read("rq/mirror")
    assert now is not None
    assert now.data == b"2"


def test_a_check_leaves_nothing_behind(journal: Journal) -> None:
    journal.check()
    assert journal.store.listing("rq/checks") == []


@pytest.mark.parametrize("address", ["folder", "s3"], indirect=True)
def test_of_many_creators_exactly_one_succeeds(journal: Journal) -> None:
    results: list[Creation] = []
    start = threading.Barrier(8)

    def create(number: int) -> None:
        start.wait()
        results.append(journal.create(entry(nonce=str(number))))

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [Creation.CREATED] + [Creation.OTHERS] * 7


@pytest.mark.parametrize("address", ["folder"], indirect=True)
def test_a_store_that_cannot_be_written_says_what_to_do(journal: Journal, address: str) -> None:
    path = address.removeprefix("file://")
    with open(path, "w", encoding="utf-8"):  # noqa: PTH123 - a file where the folder should be
        pass
    with pytest.raises(JournalFailed) as caught:
        journal.create(entry())
    assert path in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"format": 2}', b'{"format": 1}', b"\xff"])
def test_what_is_no_entry_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableEntryError):
        Entry.from_json(data)


def test_half_a_surrogate_pair_survives() -> None:
    odd = replace(entry(), payload={"prompt": "\ud83d"})
    assert Entry.from_json(odd.to_json()) == odd


def test_an_entry_without_payload_takes_less_than_2_kb() -> None:
    assert len(entry().to_json()) < 2048


PAID, PAID_LATER = Attempt("j", 1, entry()), Attempt("j", 2, entry(2))
REFUSED, REFUSED_LATER = (replace(each, mark=Mark.NOT_SENT) for each in (PAID, PAID_LATER))
DAMAGED = Attempt("j", 1, None)


@pytest.mark.parametrize(
    ("attempts", "decided", "expected"),
    [
        ([], set(), OpenAttempt(1)),
        ([], {1}, OpenAttempt(1)),
        ([REFUSED], set(), OpenAttempt(2)),
        ([PAID], set(), AdoptAttempt(PAID, ())),
        ([PAID], {1}, OpenAttempt(2)),
        ([PAID, PAID_LATER], {1}, AdoptAttempt(PAID_LATER, (PAID,))),
        ([PAID, PAID_LATER], {1, 2}, OpenAttempt(3)),
        ([PAID, REFUSED_LATER], set(), AdoptAttempt(PAID, ())),
        ([PAID, REFUSED_LATER], {1}, OpenAttempt(3)),
        ([PAID, REFUSED_LATER], {1, 2}, OpenAttempt(3)),
        ([REFUSED, REFUSED_LATER], set(), OpenAttempt(3)),
        ([REFUSED, PAID_LATER], set(), AdoptAttempt(PAID_LATER, ())),
        ([DAMAGED], set(), AdoptAttempt(DAMAGED, ())),
    ],
)
def test_the_next_attempt_follows_from_the_last_one_that_may_be_charged(
    attempts: list[Attempt], decided: set[int], expected: OpenAttempt | AdoptAttempt
) -> None:
    assert next_attempt(attempts, decided) == expected
