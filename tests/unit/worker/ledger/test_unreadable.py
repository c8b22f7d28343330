"""A record that cannot be read is set aside with the reason, and the other jobs continue."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from redis import Redis

from tests.unit.worker.ledger.conftest import LEASE, LedgerHarness
from worker.ledger.model import jobs as records
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.model.submissions import NewJob

KEY = "job:{t}:bad"


def foreign(redis: Redis) -> None:
    redis.set(KEY, "not a record")


def cut_short(redis: Redis) -> None:
    redis.delete(KEY)
    redis.hset(KEY, "payload", "{}")


def newer(redis: Redis) -> None:
    redis.hset(KEY, "v", "99")


def bad_payload(redis: Redis) -> None:
    redis.hset(KEY, "payload", '{"image": ')


def bombed(redis: Redis) -> None:
    redis.hset(KEY, "payload", "[" * 100_000)


def list_for_payload(redis: Redis) -> None:
    redis.hset(KEY, "payload", "[1]")


DAMAGES = [foreign, cut_short, newer, bad_payload, bombed, list_for_payload]


@pytest.mark.parametrize("damage", DAMAGES)
def test_lists_show_a_placeholder_for_it(
    harness: LedgerHarness, damage: Callable[[Redis], None]
) -> None:
    for name in ("a", "bad", "z"):
        harness.submit(name)
    damage(harness.redis)
    found = list(harness.ledger.jobs(["a", "bad", "z", "gone"]))
    assert [job.id for job in found] == ["a", "bad", "z"]
    assert found[1].reason is Reason.POISON
    assert found[1].message.startswith("This job's record cannot be read: ")
    with pytest.raises(records.UnreadableRecordError):
        harness.ledger.job("bad")


@pytest.mark.parametrize("damage", [foreign, cut_short])
@pytest.mark.parametrize("admitted", [False, True])
def test_the_ticker_dispatches_the_other_jobs(
    harness: LedgerHarness, damage: Callable[[Redis], None], admitted: bool
) -> None:
    """It is damaged in its flow, or on the agenda."""
    harness.submit("bad")
    if admitted:
        assert harness.admit() == ["bad"]
    damage(harness.redis)
    harness.submit("good")
    assert harness.admit() == ["good"]
    harness.later(LEASE / 2)
    harness.admit()
    harness.later(LEASE / 2 + 1)
    assert harness.admit() == ["good"]
    assert harness.redis.zscore("agenda:{t}", "bad") is None
    verdict = harness.ledger.claim("bad", "w", "n").verdict
    assert verdict == ("UNREADABLE" if harness.redis.exists(KEY) else "GONE")
    if damage is foreign or admitted:
        assert harness.redis.hget("unreadable:{t}", "bad")


def test_a_record_of_the_previous_version_is_upgraded(
    harness: LedgerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def from_0(fields: Mapping[str, str]) -> Mapping[str, str]:
        return {**fields, "payload": f'{{"image": "{fields["image"]}"}}'}

    monkeypatch.setitem(records.UPGRADES, 0, from_0)
    harness.submit("old")
    harness.redis.hdel("job:{t}:old", "payload")
    harness.redis.hset("job:{t}:old", mapping={"v": "0", "image": "cat.jpg"})
    job = harness.ledger.job("old")
    assert job is not None
    assert (job.payload, job.state) == ({"image": "cat.jpg"}, State.QUEUED)


def repair(harness: LedgerHarness, value: str | None) -> None:
    """Restore the record as it was before its fence was damaged."""
    harness.redis.hset(KEY, "fence", value or "0")


def damage_fence(harness: LedgerHarness) -> str | None:
    """Damage the record's fence, and return its former value."""
    before = harness.redis.hget(KEY, "fence")
    harness.redis.hset(KEY, "fence", "seven")
    return str(before) if before else None


@pytest.mark.parametrize(
    "place_before", ["queued", "waiting still", "running", "owned", "held", "ended"]
)
def test_a_job_that_was_set_aside_continues_in_its_state_when_it_can_be_read(
    harness: LedgerHarness, place_before: str
) -> None:
    harness.submit("bad")
    place = "flow"
    if place_before not in ("queued", "waiting still"):
        harness.admit()
        place = "agenda"
    if place_before in ("owned", "held", "ended"):
        fence = harness.claim("bad")
        ends = {
            "held": (Commit(State.HELD, reason=Reason.PLAN), "agenda"),
            "ended": (Commit(State.FAILED, reason=Reason.BAD_CLIP), "end"),
        }
        if place_before in ends:
            end, place = ends[place_before]
            assert harness.ledger.commit("bad", fence, replace(end, resume=State.RENDERING))
    before = damage_fence(harness)
    if place_before == "queued":
        assert harness.admit() == []
    assert harness.ledger.cancel("bad") == "UNREADABLE"
    assert harness.ledger.release("bad") == "UNREADABLE"
    assert harness.ledger.retry("bad") == "UNREADABLE"
    assert harness.ledger.claim("bad", "w", "n").verdict == "UNREADABLE"
    assert harness.ledger.set_aside() == {"bad": "fence is 'seven', not a number"}
    repair(harness, before)
    assert harness.ledger.release("bad") == "OK"
    assert harness.ledger.release("bad") == "NOT_HELD"
    assert harness.ledger.set_aside() == {}
    assert harness.places("bad") == [place]
    assert harness.redis.llen("flow:{t}:single:normal") == (place == "flow")
    if place == "flow":
        assert harness.admit() == ["bad"]
    if place in ("flow", "agenda"):
        assert harness.ledger.claim("bad", "w2", "n2").record["crashes"] == "0"


def test_an_owner_keeps_a_job_that_continued_before_it_was_restored(harness: LedgerHarness) -> None:
    """It was repaired while its step ran; the next step is reading a paid stream already."""
    fence = harness.running("bad")
    before = damage_fence(harness)
    assert harness.ledger.heartbeat([("bad", fence)]) == [False]
    repair(harness, before)
    assert harness.ledger.commit("bad", fence, Commit(State.GENERATING))
    fence = harness.claim("bad", nonce="n2")
    assert harness.begin("bad", fence) == "OK"
    assert harness.ledger.release("bad") == "OK"
    assert harness.ledger.set_aside() == {}
    assert harness.ledger.heartbeat([("bad", fence)]) == [True]
    assert harness.places("bad") == ["agenda"]


def test_a_set_aside_job_that_is_deleted_or_ends_leaves_the_list(harness: LedgerHarness) -> None:
    for name in ("bad", "other"):
        harness.submit(name)
        harness.redis.hset(f"job:{{t}}:{name}", "state", "?")
        assert harness.ledger.retry(name) == "UNREADABLE"
    harness.redis.delete(KEY)
    harness.redis.hset("job:{t}:other", "state", "queued")
    assert harness.ledger.release_many(["bad"]) == ["GONE"]
    assert harness.ledger.cancel("other") == "CANCELLED"
    assert harness.ledger.set_aside() == {}


def test_a_follow_up_waits_for_a_predecessor_that_cannot_be_read(harness: LedgerHarness) -> None:
    """It is not known whether the predecessor has sent a message in the session."""
    fence = harness.running("bad")
    harness.ledger.update_facts("bad", fence, {"session_id": "s"})
    harness.ledger.submit(NewJob(id="next", payload={}, fingerprint="n", follows="bad"))
    harness.admit()
    next_fence = harness.claim("next")
    damage_fence(harness)
    answer = harness.ledger.acquire_session("next", next_fence)
    assert (answer.verdict, answer.waits_for) == ("SESSION_BUSY", "bad")


def test_no_job_acquires_a_session_whose_holder_cannot_be_read(harness: LedgerHarness) -> None:
    """The holder's message may be running, although no worker reads its stream."""
    fence = harness.running("first")
    harness.ledger.update_facts("first", fence, {"session_id": "s"})
    assert harness.ledger.commit("first", fence, Commit(State.SUCCEEDED))
    fence = harness.running("bad")
    harness.ledger.update_facts("bad", fence, {"session_id": "s"})
    assert harness.begin("bad", fence) == "OK"
    harness.ledger.submit(NewJob(id="next", payload={}, fingerprint="n", follows="first"))
    harness.admit()
    next_fence = harness.claim("next")
    before = damage_fence(harness)
    answer = harness.ledger.acquire_session("next", next_fence)
    assert (answer.verdict, answer.waits_for) == ("SESSION_BUSY", "bad")
    harness.ledger.update_facts("next", next_fence, {"session_id": "s", "account": "a"})
    assert harness.begin("next", next_fence, call="c2") == "SESSION_BUSY"
    repair(harness, before)
    assert harness.ledger.commit("bad", fence, Commit(State.RENDERING, outcome="done"))
    assert harness.begin("next", next_fence, call="c2") == "OK"


def test_a_follow_up_of_a_job_that_cannot_be_read_does_not_fail(harness: LedgerHarness) -> None:
    """The job has a project, which is known again when its record is repaired."""
    harness.running("bad")
    for name in ("one", "two"):
        harness.ledger.submit(NewJob(id=name, payload={}, fingerprint=name, follows="bad"))
    harness.ledger.cancel("one")
    harness.admit()
    fence = harness.claim("two")
    damage_fence(harness)
    answer = harness.ledger.acquire_session("two", fence)
    assert (answer.verdict, answer.waits_for) == ("SESSION_BUSY", "bad")


def test_a_worker_of_an_older_version_leaves_a_newer_record_alone(harness: LedgerHarness) -> None:
    """A rolling upgrade would otherwise hold jobs in masses."""
    harness.submit("bad")
    harness.ledger.due(1, room=1, admit=1)
    newer(harness.redis)
    before = harness.redis.hgetall(KEY)
    assert harness.ledger.claim("bad", "old worker", "n").verdict == "NEWER"
    assert harness.redis.hgetall(KEY) == before
    assert harness.redis.zscore("agenda:{t}", "bad") is not None, "newer workers are woken again"


def test_an_older_ticker_does_not_set_a_newer_record_aside(harness: LedgerHarness) -> None:
    """A newer version may have states and fields that this one does not know."""
    harness.submit("bad")
    harness.submit("good")
    harness.admit()
    newer(harness.redis)
    harness.redis.hset(KEY, mapping={"state": "upscaling", "turn": "first"})
    harness.later(LEASE)
    assert harness.admit() == ["good"]
    assert harness.ledger.set_aside() == {}
    assert harness.admit() == [], "it is not the first of each tick"
    assert harness.redis.zscore("agenda:{t}", "bad") is not None


def test_a_newer_record_is_told_from_a_damaged_one(harness: LedgerHarness) -> None:
    harness.submit("bad")
    newer(harness.redis)
    with pytest.raises(records.NewerRecordError):
        harness.ledger.job("bad")
