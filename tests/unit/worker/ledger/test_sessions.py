"""One message at a time in a session, whoever sends it, and shared batches one job at a time."""

from tests.unit.worker.ledger.conftest import House
from worker.ledger.ledger import Commit
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import Reason, State
from worker.ledger.model.submissions import NewJob


def job(house: House, job_id: str) -> Job:
    found = house.ledger.job(job_id)
    assert found is not None
    return found


def start(house: House, job_id: str) -> int:
    """Admit and claim a job on a rich account; the fence."""
    house.admit()
    fence = house.claim(job_id, nonce=f"n-{job_id}-{house.redis.incr('nonces')}")
    house.ledger.update_facts(job_id, fence, {"account": "a"})
    house.payments.record_balance("a", read_at=1, available=10_000, frozen=0, total=10_000)
    return fence


def in_session(house: House, job_id: str, session: str = "s") -> int:
    """A job at work in a session of its own; the fence."""
    house.submit(job_id)
    fence = start(house, job_id)
    house.ledger.update_facts(job_id, fence, {"session_id": session})
    return fence


def settle(house: House, job_id: str, fence: int) -> None:
    assert house.ledger.commit(job_id, fence, Commit(State.RENDERING, outcome="done"))


def follow(house: House, job_id: str, parent: str) -> int:
    """A follow-up that is claimed; the fence."""
    new = NewJob(id=job_id, payload={}, fingerprint="f", parent_id=parent, follows=parent)
    assert house.ledger.submit(new).verdict == "OK"
    return start(house, job_id)


def hold(house: House, job_id: str, fence: int, reason: Reason) -> None:
    assert house.ledger.commit(job_id, fence, Commit(State.HELD, reason=reason))


def verdict(house: House, job_id: str, fence: int) -> tuple[str, str]:
    acquisition = house.ledger.acquire_session(job_id, fence)
    return acquisition.verdict, acquisition.waits_for


def block(house: House, job_id: str, fence: int, by: str) -> None:
    blocked = Commit(
        State.HELD, reason=Reason.BLOCKED, resume=State.PREPARING, facts={"blocked_by": by}
    )
    assert house.ledger.commit(job_id, fence, blocked)


# --- follow-ups


def test_no_second_message_while_one_is_unsettled(house: House) -> None:
    first = in_session(house, "a")
    assert house.begin("a", first, "c-a") == "OK"
    second = in_session(house, "b")
    assert house.begin("b", second, "c-b") == "SESSION_BUSY"
    settle(house, "a", first)
    assert house.begin("b", second, "c-b") == "OK"


def test_a_follow_up_waits_its_turn_and_takes_over_the_session(house: House) -> None:
    first = in_session(house, "a")
    assert house.begin("a", first, "c-a") == "OK"
    second = follow(house, "b", "a")
    assert verdict(house, "b", second) == ("SESSION_BUSY", "a")
    settle(house, "a", first)
    assert verdict(house, "b", second) == ("OK", "")
    assert verdict(house, "b", second) == ("OK", ""), "safe twice"
    assert (job(house, "b").fact("session_id"), job(house, "b").fact("account")) == ("s", "a")


def test_follow_ups_come_in_the_order_in_which_they_were_said(house: House) -> None:
    settle(house, "a", in_session(house, "a"))
    first, second = follow(house, "b", "a"), follow(house, "c", "a")
    assert verdict(house, "c", second) == ("SESSION_BUSY", "b")
    assert verdict(house, "b", first) == ("OK", "")
    settle(house, "b", first)
    assert verdict(house, "c", second) == ("OK", "")
    third = follow(house, "d", "b")
    assert verdict(house, "d", third) == ("SESSION_BUSY", "c"), "all of one session are in one line"


def test_a_follow_up_behind_an_unknown_outcome_is_blocked_until_that_is_decided(
    house: House,
) -> None:
    first = in_session(house, "a")
    assert house.begin("a", first, "c-a") == "OK"
    hold(house, "a", first, Reason.OUTCOME_UNKNOWN)
    second = follow(house, "b", "a")
    assert verdict(house, "b", second) == ("SESSION_BLOCKED", "a")
    assert house.begin("b", second, "c-b") == "SESSION_BLOCKED"
    block(house, "b", second, "a")
    assert job(house, "b").reason is Reason.BLOCKED
    assert house.ledger.release("a", mode="as_done") == "OK"
    assert job(house, "b").state is State.QUEUED, "it looks again by itself"


def test_a_cancelled_holder_lets_the_blocked_go_on(house: House) -> None:
    first = in_session(house, "a")
    assert house.begin("a", first, "c-a") == "OK"
    hold(house, "a", first, Reason.OUTCOME_UNKNOWN)
    block(house, "b", follow(house, "b", "a"), "a")
    assert house.ledger.cancel("a") == "CANCELLED"
    assert verdict(house, "b", start(house, "b")) == ("OK", "")


def test_who_is_decided_about_just_before_blocks_nobody(house: House) -> None:
    settle(house, "a", in_session(house, "a"))
    block(house, "b", follow(house, "b", "a"), "a")
    assert (job(house, "b").state, job(house, "b").reason) == (State.PREPARING, None)
    assert house.places("b") == ["agenda"]


def test_a_holder_that_pays_again_comes_before_the_jobs_it_held_up(house: House) -> None:
    """With one slot, a job that waited in it for the other would wait for ever."""
    first = in_session(house, "a")
    assert house.begin("a", first, "c-a") == "OK"
    hold(house, "a", first, Reason.OUTCOME_UNKNOWN)
    block(house, "b", follow(house, "b", "a"), "a")
    assert house.ledger.release("a", mode="pay_again") == "OK"
    assert house.ledger.due(1, room=1, admit=1) == [("b", State.PREPARING)]
    second = house.claim("b", nonce="again")
    assert verdict(house, "b", second) == ("SESSION_BLOCKED", "a")
    block(house, "b", second, "a")
    assert house.ledger.due(1, room=1, admit=1) == [("a", State.PREPARING)]


def test_a_follow_up_of_a_job_that_never_had_a_project_is_told_so(house: House) -> None:
    house.submit("a")
    fence = start(house, "a")
    house.ledger.commit("a", fence, Commit(State.FAILED, reason=Reason.BAD_IMAGE))
    assert verdict(house, "b", follow(house, "b", "a")) == ("NO_PROJECT", "a")


def test_nothing_is_remembered_of_a_session_that_one_job_had(house: House) -> None:
    fence = in_session(house, "a")
    assert house.begin("a", fence, "c-a") == "OK"
    settle(house, "a", fence)
    assert not list(house.redis.scan_iter("session:*"))
    second = follow(house, "b", "a")
    assert verdict(house, "b", second) == ("OK", "")
    assert house.begin("b", second, "c-b") == "OK"
    settle(house, "b", second)
    assert house.ledger.last_message("s") == "c-b"


# --- shared batches


def shared(house: House, *job_ids: str) -> None:
    house.ledger.open_batch("b", "name", 1)
    assert house.ledger.set_session_mode("b", "shared") == "shared"
    for job_id in job_ids:
        house.submit(job_id, batch_id="b")


def open_session(house: House, job_id: str, session: str) -> int:
    """The job that is admitted opens the batch's session, and pays; the fence."""
    fence = start(house, job_id)
    assert verdict(house, job_id, fence) == ("OK", "")
    if job(house, job_id).fact("session_id") is None:
        house.ledger.update_facts(job_id, fence, {"session_id": session})
        assert house.ledger.share_session(job_id, fence)
    assert house.begin(job_id, fence, f"c-{job_id}") == "OK"
    return fence


def test_a_shared_batch_admits_one_job_from_upload_to_settled_draft(house: House) -> None:
    shared(house, "j1", "j2", "j3")
    fence = open_session(house, "j1", "s")
    assert house.admit() == []
    settle(house, "j1", fence)
    second = open_session(house, "j2", "never opened")
    assert job(house, "j2").fact("session_id") == "s"
    assert house.admit() == []
    settle(house, "j2", second)
    assert "j3" in house.admit()


def test_an_unknown_outcome_pauses_a_shared_batch_until_it_is_decided(house: House) -> None:
    shared(house, "j1", "j2")
    fence = open_session(house, "j1", "s")
    hold(house, "j1", fence, Reason.OUTCOME_UNKNOWN)
    batch = house.ledger.batch("b")
    assert batch is not None
    assert (batch.paused, batch.blocked_by) == (True, "j1")
    assert house.admit() == []
    assert house.ledger.resume("b")
    assert house.admit() == [], "a person may end the pause, not the doubt"
    house.ledger.release("j1", mode="as_done")
    fence = start(house, "j1")
    settle(house, "j1", fence)
    batch = house.ledger.batch("b")
    assert batch is not None
    assert (batch.paused, batch.blocked_by) == (False, None)
    assert "j2" in house.admit()


def test_a_session_lost_after_payment_is_the_payers_trouble_alone(house: House) -> None:
    shared(house, "j1", "j2")
    fence = open_session(house, "j1", "s")
    hold(house, "j1", fence, Reason.SESSION_LOST)
    open_session(house, "j2", "new")
    assert job(house, "j2").fact("session_id") == "new"


def test_a_session_lost_before_payment_is_replaced_for_the_rest(house: House) -> None:
    shared(house, "j1", "j2")
    settle(house, "j1", open_session(house, "j1", "s"))
    fence = start(house, "j2")
    assert verdict(house, "j2", fence) == ("OK", "")
    lost = Commit(State.PREPARING, facts={"session_id": "", "uploaded": ""})
    assert house.ledger.commit("j2", fence, lost)
    open_session(house, "j2", "new")
    assert job(house, "j2").fact("session_id") == "new"


def test_what_was_uploaded_before_others_worked_is_uploaded_again(house: House) -> None:
    shared(house, "j1", "j2")
    settle(house, "j1", open_session(house, "j1", "s"))
    fence = start(house, "j2")
    assert verdict(house, "j2", fence) == ("OK", "")
    house.ledger.update_facts("j2", fence, {"uploaded": "1"})
    assert verdict(house, "j2", fence) == ("OK", "")
    assert job(house, "j2").fact("uploaded") == "1"
    hold(house, "j2", fence, Reason.CREDITS)
    house.ledger.release("j2")
    fence = start(house, "j2")
    assert verdict(house, "j2", fence) == ("OK", "")
    assert job(house, "j2").fact("uploaded") is None


def test_a_follow_up_comes_between_two_jobs_of_a_shared_batch(house: House) -> None:
    shared(house, "j1", "j2", "j3")
    first = open_session(house, "j1", "s")
    settle(house, "j1", first)
    second = open_session(house, "j2", "s")
    said = follow(house, "f", "j1")
    assert verdict(house, "f", said) == ("SESSION_BUSY", "j2")
    settle(house, "j2", second)
    third = start(house, "j3")
    assert verdict(house, "j3", third) == ("SESSION_BUSY", "f")
    assert verdict(house, "f", said) == ("OK", "")
    assert verdict(house, "j3", third) == ("SESSION_BUSY", "f")
    settle(house, "f", said)
    assert verdict(house, "j3", third) == ("OK", "")


def test_a_job_made_anew_comes_between_two_jobs_of_a_shared_batch(house: House) -> None:
    shared(house, "j1", "j2", "j3")
    settle(house, "j1", open_session(house, "j1", "s"))
    second = open_session(house, "j2", "s")
    again = NewJob(
        id="again", payload={}, fingerprint="f", batch_id="b", parent_id="j1", lane="single"
    )
    assert house.ledger.submit(again).verdict == "OK"
    made = start(house, "again")
    assert verdict(house, "again", made) == ("SESSION_BUSY", "j2")
    settle(house, "j2", second)
    third = start(house, "j3")
    assert verdict(house, "j3", third) == ("SESSION_BUSY", "again")
    assert verdict(house, "again", made) == ("OK", "")
    assert verdict(house, "again", made) == ("OK", ""), "safe twice"
    assert house.begin("again", made, "c-again") == "OK"
    settle(house, "again", made)
    assert verdict(house, "j3", third) == ("OK", "")


def test_what_is_remembered_of_a_session_goes_with_the_record(house: House) -> None:
    settle(house, "a", in_session(house, "a"))
    second = follow(house, "b", "a")
    assert verdict(house, "b", second) == ("OK", "")
    assert house.begin("b", second, "c-b") == "OK"
    house.ledger.commit("b", second, Commit(State.SUCCEEDED, outcome="done"))
    assert house.redis.exists("session:{t}:s")
    house.redis.delete("outbox:{t}")
    assert house.ledger.scripts.run("prune", 10**15, 0, "b") == ["PRUNED"]
    assert not house.redis.exists("session:{t}:s")


# --- the queue for a session


def queued_behind(house: House) -> tuple[int, int, int]:
    """Job a works in a session; b, then c, have asked for it. Their fences."""
    first = in_session(house, "a")
    assert house.begin("a", first, "c-a") == "OK"
    fences = in_session(house, "b"), in_session(house, "c")
    for job_id, fence in zip("bc", fences, strict=True):
        house.later(1)
        assert house.begin(job_id, fence, f"c-{job_id}") == "SESSION_BUSY"
    return first, *fences


def test_jobs_acquire_a_session_in_the_order_in_which_they_asked(house: House) -> None:
    first, second, third = queued_behind(house)
    settle(house, "a", first)
    assert verdict(house, "c", third) == ("SESSION_BUSY", "b")
    assert verdict(house, "b", second) == ("OK", "")
    assert verdict(house, "c", third) == ("SESSION_BUSY", "b")
    settle(house, "b", second)
    assert verdict(house, "c", third) == ("OK", "")
    assert not house.redis.exists("session_queue:{t}:s")


def test_a_job_that_backs_off_loses_its_place_in_the_queue(house: House) -> None:
    first, second, third = queued_behind(house)
    settle(house, "a", first)
    assert house.ledger.commit("b", second, Commit(State.PREPARING, delay=60))
    assert verdict(house, "c", third) == ("OK", "")


def test_a_job_that_asks_again_soon_keeps_its_place_in_the_queue(house: House) -> None:
    first, second, third = queued_behind(house)
    settle(house, "a", first)
    assert house.ledger.commit("b", second, Commit(State.PREPARING, delay=2))
    assert verdict(house, "c", third) == ("SESSION_BUSY", "b")


def test_a_job_that_is_held_leaves_the_queue(house: House) -> None:
    first, second, third = queued_behind(house)
    hold(house, "b", second, Reason.CREDITS)
    assert house.redis.zrange("session_queue:{t}:s", 0, -1) == ["c"]
    settle(house, "a", first)
    assert verdict(house, "c", third) == ("OK", "")


def test_a_session_record_from_before_the_queue_is_still_held_by_its_holder(house: House) -> None:
    first = in_session(house, "a")
    assert house.begin("a", first, "c-a") == "OK"
    house.redis.hset("session:{t}:s", mapping={"wanted": "b", "wanted_at": "1000000000"})
    second, third = in_session(house, "b"), in_session(house, "c")
    assert verdict(house, "c", third) == ("SESSION_BUSY", "a")
    settle(house, "a", first)
    house.later(1)
    assert verdict(house, "b", second) == ("SESSION_BUSY", "c")
    assert verdict(house, "c", third) == ("OK", "")
