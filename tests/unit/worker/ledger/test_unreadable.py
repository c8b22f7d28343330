"""A record that cannot be read is set aside with its reason, and stops nobody."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from redis import Redis

from tests.unit.worker.ledger.conftest import LEASE, House
from worker.ledger.ledger import Commit
from worker.ledger.model import jobs as records
from worker.ledger.model.states import Reason, State
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
def test_lists_show_what_is_left_of_it(house: House, damage: Callable[[Redis], None]) -> None:
    for name in ("a", "bad", "z"):
        house.submit(name)
    damage(house.redis)
    found = list(house.ledger.jobs(["a", "bad", "z", "gone"]))
    assert [job.id for job in found] == ["a", "bad", "z"]
    assert found[1].reason is Reason.POISON
    assert found[1].message.startswith("This job's record cannot be read: ")
    with pytest.raises(records.UnreadableRecordError):
        house.ledger.job("bad")


@pytest.mark.parametrize("damage", [foreign, cut_short])
@pytest.mark.parametrize("admitted", [False, True])
def test_the_ticker_hands_out_the_others(
    house: House, damage: Callable[[Redis], None], admitted: bool
) -> None:
    """In its flow and on the agenda; the ticker made its rounds meanwhile."""
    house.submit("bad")
    if admitted:
        assert house.admit() == ["bad"]
    damage(house.redis)
    house.submit("good")
    assert house.admit() == ["good"]
    house.later(LEASE / 2)
    house.admit()
    house.later(LEASE / 2 + 1)
    assert house.admit() == ["good"]
    assert house.redis.zscore("agenda:{t}", "bad") is None
    verdict = house.ledger.claim("bad", "w", "n").verdict
    assert verdict == ("UNREADABLE" if house.redis.exists(KEY) else "GONE")
    if damage is foreign or admitted:
        assert house.redis.hget("unreadable:{t}", "bad")


def test_a_record_of_the_version_before_is_read(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def from_0(fields: Mapping[str, str]) -> Mapping[str, str]:
        return {**fields, "payload": f'{{"image": "{fields["image"]}"}}'}

    monkeypatch.setitem(records.UPGRADES, 0, from_0)
    house.submit("old")
    house.redis.hdel("job:{t}:old", "payload")
    house.redis.hset("job:{t}:old", mapping={"v": "0", "image": "cat.jpg"})
    job = house.ledger.job("old")
    assert job is not None
    assert (job.payload, job.state) == ({"image": "cat.jpg"}, State.QUEUED)


def mended(house: House, value: str | None) -> None:
    """The record as it was before its fence was damaged."""
    house.redis.hset(KEY, "fence", value or "0")


def damaged(house: House) -> str | None:
    """Damage the record; what stood there."""
    before = house.redis.hget(KEY, "fence")
    house.redis.hset(KEY, "fence", "seven")
    return str(before) if before else None


@pytest.mark.parametrize("stands", ["queued", "waiting still", "running", "owned", "held", "ended"])
def test_what_was_set_aside_goes_back_where_it_stood_when_it_can_be_read(
    house: House, stands: str
) -> None:
    house.submit("bad")
    place = "flow"
    if stands not in ("queued", "waiting still"):
        house.admit()
        place = "agenda"
    if stands in ("owned", "held", "ended"):
        fence = house.claim("bad")
        ends = {
            "held": (Commit(State.HELD, reason=Reason.PLAN), "agenda"),
            "ended": (Commit(State.FAILED, reason=Reason.BAD_CLIP), "end"),
        }
        if stands in ends:
            end, place = ends[stands]
            assert house.ledger.commit("bad", fence, replace(end, resume=State.RENDERING))
    before = damaged(house)
    if stands == "queued":
        assert house.admit() == []
    assert house.ledger.cancel("bad") == "UNREADABLE"
    assert house.ledger.release("bad") == "UNREADABLE"
    assert house.ledger.retry("bad") == "UNREADABLE"
    assert house.ledger.claim("bad", "w", "n").verdict == "UNREADABLE"
    assert house.ledger.set_aside() == {"bad": "fence is 'seven', not a number"}
    mended(house, before)
    assert house.ledger.release("bad") == "OK"
    assert house.ledger.release("bad") == "NOT_HELD"
    assert house.ledger.set_aside() == {}
    assert house.places("bad") == [place]
    assert house.redis.llen("flow:{t}:single:normal") == (place == "flow")
    if place == "flow":
        assert house.admit() == ["bad"]
    if place in ("flow", "agenda"):
        assert house.ledger.claim("bad", "w2", "n2").record["crashes"] == "0"


def test_nobody_loses_a_job_that_has_gone_on_before_it_was_put_back(house: House) -> None:
    """It was mended while its step ran; the next one hears a paid stream by now."""
    fence = house.running("bad")
    before = damaged(house)
    assert house.ledger.heartbeat([("bad", fence)]) == [False]
    mended(house, before)
    assert house.ledger.commit("bad", fence, Commit(State.GENERATING))
    fence = house.claim("bad", nonce="n2")
    assert house.begin("bad", fence) == "OK"
    assert house.ledger.release("bad") == "OK"
    assert house.ledger.set_aside() == {}
    assert house.ledger.heartbeat([("bad", fence)]) == [True]
    assert house.places("bad") == ["agenda"]


def test_what_is_gone_or_ends_otherwise_is_forgotten(house: House) -> None:
    for name in ("bad", "other"):
        house.submit(name)
        house.redis.hset(f"job:{{t}}:{name}", "state", "?")
        assert house.ledger.retry(name) == "UNREADABLE"
    house.redis.delete(KEY)
    house.redis.hset("job:{t}:other", "state", "queued")
    assert house.ledger.release_many(["bad"]) == ["GONE"]
    assert house.ledger.cancel("other") == "CANCELLED"
    assert house.ledger.set_aside() == {}


def test_a_follow_up_waits_for_the_one_before_it_that_cannot_be_read(house: House) -> None:
    """What that one may have said in the session is not known."""
    fence = house.running("bad")
    house.ledger.update_facts("bad", fence, {"session_id": "s"})
    house.ledger.submit(NewJob(id="next", payload={}, fingerprint="n", follows="bad"))
    house.admit()
    next_fence = house.claim("next")
    damaged(house)
    answer = house.ledger.acquire_session("next", next_fence)
    assert (answer.verdict, answer.waits_for) == ("SESSION_BUSY", "bad")


def test_nobody_speaks_in_a_session_whose_holder_cannot_be_read(house: House) -> None:
    """Its message may be under way there, though nobody follows it."""
    fence = house.running("first")
    house.ledger.update_facts("first", fence, {"session_id": "s"})
    assert house.ledger.commit("first", fence, Commit(State.SUCCEEDED))
    fence = house.running("bad")
    house.ledger.update_facts("bad", fence, {"session_id": "s"})
    assert house.begin("bad", fence) == "OK"
    house.ledger.submit(NewJob(id="next", payload={}, fingerprint="n", follows="first"))
    house.admit()
    next_fence = house.claim("next")
    before = damaged(house)
    answer = house.ledger.acquire_session("next", next_fence)
    assert (answer.verdict, answer.waits_for) == ("SESSION_BUSY", "bad")
    house.ledger.update_facts("next", next_fence, {"session_id": "s", "account": "a"})
    assert house.begin("next", next_fence, call="c2") == "SESSION_BUSY"
    mended(house, before)
    assert house.ledger.commit("bad", fence, Commit(State.RENDERING, outcome="done"))
    assert house.begin("next", next_fence, call="c2") == "OK"


def test_a_follow_up_does_not_fail_over_an_origin_that_cannot_be_read(house: House) -> None:
    """It has a project, which is known again when its record is mended."""
    house.running("bad")
    for name in ("one", "two"):
        house.ledger.submit(NewJob(id=name, payload={}, fingerprint=name, follows="bad"))
    house.ledger.cancel("one")
    house.admit()
    fence = house.claim("two")
    damaged(house)
    answer = house.ledger.acquire_session("two", fence)
    assert (answer.verdict, answer.waits_for) == ("SESSION_BUSY", "bad")
