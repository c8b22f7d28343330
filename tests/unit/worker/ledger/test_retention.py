"""Records at an end go in time, and only these; counters stay true, and keys still answer."""

from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.ledger_access import recent_ids, row_ids, submit_many
from tests.unit.worker.ledger.conftest import House
from worker.ledger.clip_names import reserve_name
from worker.ledger.ledger import Commit
from worker.ledger.model.states import State
from worker.ledger.model.submissions import NewJob
from worker.ledger.model.verdicts import CancelVerdict
from worker.runtime.retention import count_expired, prune
from worker.storage.errors import StoreError
from worker.storage.store import Store

DAY = 86_400


def ended(
    house: House, job_id: str, state: State = State.SUCCEEDED, *, batch: str = "", **facts: str
) -> None:
    """A job that ended now and was told of."""
    house.ledger.submit(
        NewJob(id=job_id, payload={}, fingerprint="f", key=f"key of {job_id}", batch_id=batch)
    )
    house.admit()
    fence = house.claim(job_id, nonce=uuid4().hex)
    assert house.ledger.commit(job_id, fence, Commit(state, facts=facts))
    house.ledger.acknowledge_notification(f"job:{job_id}", 1)


def now(house: House) -> int:
    """The house's own clock, in ms."""
    return int(str(house.redis.get("test:clock")))


def ago(house: House, days: float = 30) -> int:
    """The moment so many days ago."""
    return now(house) - int(days * DAY * 1000)


def pruned(house: House, days: float = 30) -> tuple[int, int]:
    found = prune(house.ledger, ago(house, days))
    return found.jobs, found.batches


def test_jobs_go_when_their_time_is_over_and_leave_nothing_but_their_keys(house: House) -> None:
    house.ledger.open_batch("b", "spring", now(house))
    before = set(house.redis.scan_iter("*")) | {"meta:{t}"}
    ended(house, "one", batch="b", clip_name="spring-b/1-cat")
    reserve_name(house.ledger, "spring-b", "1-cat", "one")
    ended(house, "two", State.FAILED, batch="b")
    house.later(29 * DAY)
    assert pruned(house) == (0, 0)
    ended(house, "late", batch="b")
    house.later(2 * DAY)
    assert count_expired(house.ledger, ago(house)) == 2
    assert pruned(house) == (2, 0)
    assert pruned(house) == (0, 0), "safe twice"
    assert row_ids(house.ledger, "b") == recent_ids(house.ledger, 10) == ["late"]
    batch = house.ledger.batch("b")
    assert batch is not None
    assert batch.counts == house.ledger.counts()[0] == {State.SUCCEEDED: 1}
    house.later(31 * DAY)
    assert pruned(house) == (1, 1)
    left = {key for key in house.redis.scan_iter("*") if not key.startswith("pace:")} - before
    assert left <= {f"idem:{{t}}:key of {name}" for name in ("one", "two", "late")} | {"counts:{t}"}
    assert house.ledger.counts()[0] == {}
    assert house.ledger.batch("b") is None
    assert house.ledger.batch_ids() == []


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.CANCELLED])
def test_a_late_repeat_finds_the_tombstone(house: House, state: State) -> None:
    ended(house, "one", state)
    assert house.ledger.tombstone("key of one") is None
    house.later(31 * DAY)
    pruned(house)
    again = NewJob(id="other", payload={}, fingerprint="f", key="key of one")
    assert house.ledger.submit(again).verdict == "DUPLICATE"
    assert house.ledger.submit(again).job_id == "one"
    assert house.ledger.tombstone("key of one") is state
    assert house.ledger.lookup_keys(["key of one"]) == [("one", "f")]
    foreign = NewJob(id="other", payload={}, fingerprint="g", key="key of one")
    assert house.ledger.submit(foreign).verdict == "CONFLICT"
    assert house.admit() == []


def test_a_tombstone_lasts_for_good_or_as_long_as_is_said(house: House) -> None:
    ended(house, "one")
    house.later(31 * DAY)
    pruned(house)
    assert house.redis.ttl("idem:{t}:key of one") == -1
    ended(house, "two")
    house.later(31 * DAY)
    prune(house.ledger, ago(house), tombstone_days=90)
    prune(house.ledger, ago(house), tombstone_days=90)
    assert 89 * DAY < house.redis.ttl("idem:{t}:key of two") <= 90 * DAY
    assert house.redis.ttl("idem:{t}:key of one") == -1
    assert house.ledger.tombstone("key of two") is State.SUCCEEDED


def test_what_is_not_at_an_end_or_not_told_stays(house: House) -> None:
    house.submit("waits")
    house.submit("held")
    house.admit()
    fence = house.claim("held")
    house.ledger.commit("held", fence, Commit(State.HELD, reason=None))
    ended(house, "untold")
    house.redis.zadd("outbox:{t}", {"job:untold": 1})
    house.later(100 * DAY)
    assert pruned(house) == (0, 0)
    assert set(recent_ids(house.ledger, 10)) == {"waits", "held", "untold"}


def test_a_batch_that_is_still_open_stays(house: House) -> None:
    house.ledger.open_batch("b", "spring", now(house))
    house.submit("j", batch_id="b")
    house.later(100 * DAY)
    assert pruned(house) == (0, 0)


def test_more_than_a_page_goes_past_what_stays(house: House) -> None:
    for number in range(30):
        house.submit(f"waits-{number}")
    submit_many(
        house.ledger,
        (NewJob(id=f"j-{n}", payload={}, fingerprint="f", key=f"k-{n}") for n in range(1200)),
    )
    assert (
        house.ledger.cancel_many(f"j-{n}" for n in range(1200)).count(CancelVerdict.CANCELLED)
        == 1200
    )
    house.redis.delete("outbox:{t}")
    house.later(31 * DAY)
    assert pruned(house) == (1200, 0)
    assert len(recent_ids(house.ledger, 2000)) == 30


def test_clips_go_only_when_that_is_asked_for(house: House, tmp_path: Path) -> None:
    store = Store((tmp_path / "out").as_uri())
    for name in ("a.mp4", "a.jpg"):
        (tmp_path / name).write_bytes(b"x")
        store.put_file(tmp_path / name, f"single/{name}")
    clip = '{"key": "single/a.mp4", "poster": "single/a.jpg"}'
    ended(house, "kept", clip=clip)
    house.later(31 * DAY)
    pruned(house)
    assert store.exists("single/a.mp4")
    ended(house, "gone", clip=clip)
    house.later(31 * DAY)
    found = prune(house.ledger, ago(house), clips=store)
    assert (found.jobs, found.clips) == (1, 1)
    assert not store.exists("single/a.mp4")
    assert not store.exists("single/a.jpg")


def test_a_clip_that_cannot_be_deleted_keeps_its_record(house: House, tmp_path: Path) -> None:
    store = Store((tmp_path / "out").as_uri())
    (tmp_path / "out" / "single" / "a.mp4").mkdir(parents=True)
    ended(house, "j", clip='{"key": "single/a.mp4", "poster": null}')
    house.later(31 * DAY)
    with pytest.raises(StoreError):
        prune(house.ledger, ago(house), clips=store)
    assert house.ledger.job("j") is not None


def test_a_clip_that_is_done_keeps_what_export_and_edits_need(house: House) -> None:
    work = {"tries": "0", "baseline": "x", "polls": "3"}
    ended(house, "j", State.SUCCEEDED, draft="z:d", session_id="s", **work)
    job = house.ledger.job("j")
    assert job is not None
    assert {"draft", "session_id"} <= job.facts.keys()
    assert not work.keys() & job.facts.keys()
