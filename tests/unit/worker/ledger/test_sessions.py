"""Shared sessions: one job at a time in each, in order, and shared batches one job at a time."""

from tests.unit.worker.ledger.conftest import LedgerHarness
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.model.submissions import NewJob


def job(harness: LedgerHarness, job_id: str) -> Job:
    found = harness.ledger.job(job_id)
    assert found is not None
    return found


def start(harness: LedgerHarness, job_id: str) -> str:
    """Admit and claim a job on an account with credits, and return the fence."""
    harness.admit()
    fence = harness.claim(job_id, nonce=f"n-{job_id}-{harness.redis.incr('nonces')}")
    harness.ledger.update_facts(job_id, fence, {"account": "a"})
    harness.payments.record_balance("a", read_at=1, available=10_000, frozen=0, total=10_000)
    return fence


def in_session(harness: LedgerHarness, job_id: str, session: str = "s") -> str:
    """Start a job in a session, and return its fence."""
    harness.submit(job_id)
    fence = start(harness, job_id)
    harness.ledger.update_facts(job_id, fence, {"session_id": session})
    return fence


def settle(harness: LedgerHarness, job_id: str, fence: str) -> None:
    assert harness.ledger.commit(job_id, fence, Commit(State.RENDERING, outcome="done"))


def follow(harness: LedgerHarness, job_id: str, parent: str) -> str:
    """Submit and start a follow-up, and return its fence."""
    new = NewJob(id=job_id, payload={}, fingerprint="f", parent_id=parent, follows=parent)
    assert harness.ledger.submit(new).verdict == "OK"
    return start(harness, job_id)


def hold(harness: LedgerHarness, job_id: str, fence: str, reason: Reason) -> None:
    assert harness.ledger.commit(job_id, fence, Commit(State.HELD, reason=reason))


def verdict(harness: LedgerHarness, job_id: str, fence: str) -> tuple[str, str]:
    acquisition = harness.ledger.acquire_session(job_id, fence)
    return acquisition.verdict, acquisition.waits_for


def block(harness: LedgerHarness, job_id: str, fence: str, by: str) -> None:
    blocked = Commit(
        State.HELD, reason=Reason.BLOCKED, resume=State.PREPARING, facts={"blocked_by": by}
    )
    assert harness.ledger.commit(job_id, fence, blocked)


# --- follow-ups


def test_no_second_message_is_sent_while_one_is_unsettled(harness: LedgerHarness) -> None:
    first = in_session(harness, "a")
    assert harness.begin("a", first, "c-a") == "OK"
    second = in_session(harness, "b")
    assert harness.begin("b", second, "c-b") == "SESSION_BUSY"
    settle(harness, "a", first)
    assert harness.begin("b", second, "c-b") == "OK"


def test_after_a_withdrawal_the_message_before_is_the_last_one_again(
    harness: LedgerHarness,
) -> None:
    """Otherwise an earlier job of the session would take the draft of that message for its own."""
    first = in_session(harness, "a")
    harness.redis.hset(harness.ledger.key("job", "a"), "shared", "1")
    session = harness.redis.hget(harness.ledger.key("job", "a"), "session_id")
    assert harness.begin("a", first, "c-a") == "OK"
    settle(harness, "a", first)
    second = in_session(harness, "b")
    for call in ("c-b", "c-b-again"):
        assert harness.begin("b", second, call) == "OK"
        assert harness.ledger.last_message(str(session)) == call
        assert harness.payments.withdraw("b", call, "request_refused")
        assert harness.ledger.last_message(str(session)) == "c-a"


def test_a_follow_up_waits_for_its_origin_and_acquires_the_session(harness: LedgerHarness) -> None:
    first = in_session(harness, "a")
    assert harness.begin("a", first, "c-a") == "OK"
    second = follow(harness, "b", "a")
    assert verdict(harness, "b", second) == ("SESSION_BUSY", "a")
    settle(harness, "a", first)
    assert verdict(harness, "b", second) == ("OK", "")
    assert verdict(harness, "b", second) == ("OK", ""), "safe twice"
    assert (job(harness, "b").fact("session_id"), job(harness, "b").fact("account")) == ("s", "a")


def test_follow_ups_acquire_the_session_in_the_order_of_submission(harness: LedgerHarness) -> None:
    settle(harness, "a", in_session(harness, "a"))
    first, second = follow(harness, "b", "a"), follow(harness, "c", "a")
    assert verdict(harness, "c", second) == ("SESSION_BUSY", "b")
    assert verdict(harness, "b", first) == ("OK", "")
    settle(harness, "b", first)
    assert verdict(harness, "c", second) == ("OK", "")
    third = follow(harness, "d", "b")
    assert verdict(harness, "d", third) == ("SESSION_BUSY", "c"), (
        "all follow-ups of one session are in one chain"
    )


def test_a_follow_up_is_blocked_until_an_unknown_outcome_is_decided(
    harness: LedgerHarness,
) -> None:
    first = in_session(harness, "a")
    assert harness.begin("a", first, "c-a") == "OK"
    hold(harness, "a", first, Reason.OUTCOME_UNKNOWN)
    second = follow(harness, "b", "a")
    assert verdict(harness, "b", second) == ("SESSION_BLOCKED", "a")
    assert harness.begin("b", second, "c-b") == "SESSION_BLOCKED"
    block(harness, "b", second, "a")
    assert job(harness, "b").reason is Reason.BLOCKED
    assert harness.ledger.release("a", mode="as_done") == "OK"
    assert job(harness, "b").state is State.QUEUED, "it continues by itself"


def test_cancelling_the_holder_unblocks_the_jobs_behind_it(harness: LedgerHarness) -> None:
    first = in_session(harness, "a")
    assert harness.begin("a", first, "c-a") == "OK"
    hold(harness, "a", first, Reason.OUTCOME_UNKNOWN)
    block(harness, "b", follow(harness, "b", "a"), "a")
    assert harness.ledger.cancel("a") == "CANCELLED"
    assert verdict(harness, "b", start(harness, "b")) == ("OK", "")


def test_a_job_is_not_blocked_by_one_that_has_just_moved_on(harness: LedgerHarness) -> None:
    settle(harness, "a", in_session(harness, "a"))
    block(harness, "b", follow(harness, "b", "a"), "a")
    assert (job(harness, "b").state, job(harness, "b").reason) == (State.PREPARING, None)
    assert harness.places("b") == ["agenda"]


def test_a_holder_that_pays_again_goes_before_the_jobs_it_blocked(harness: LedgerHarness) -> None:
    """With one place, a job that occupied it while waiting for the other would wait for ever."""
    first = in_session(harness, "a")
    assert harness.begin("a", first, "c-a") == "OK"
    hold(harness, "a", first, Reason.OUTCOME_UNKNOWN)
    block(harness, "b", follow(harness, "b", "a"), "a")
    assert harness.ledger.release("a", mode="pay_again") == "OK"
    assert harness.ledger.due(1, room=1, admit=1) == [("b", State.PREPARING)]
    second = harness.claim("b", nonce="again")
    assert verdict(harness, "b", second) == ("SESSION_BLOCKED", "a")
    block(harness, "b", second, "a")
    assert harness.ledger.due(1, room=1, admit=1) == [("a", State.PREPARING)]


def test_a_job_settled_again_while_another_works_in_its_session_is_next_in_the_queue(
    harness: LedgerHarness,
) -> None:
    first = in_session(harness, "a")
    assert harness.begin("a", first, "c-a") == "OK"
    hold(harness, "a", first, Reason.QUESTION)
    second = follow(harness, "b", "a")
    assert verdict(harness, "b", second) == ("OK", "")
    assert harness.begin("b", second, "c-b") == "OK"
    third = follow(harness, "c", "b")
    assert harness.ledger.release("a", mode="as_done") == "OK"
    settle(harness, "b", second)
    assert verdict(harness, "c", third) == ("SESSION_BUSY", "a")
    settle(harness, "a", harness.claim("a", nonce="again"))
    assert verdict(harness, "c", third) == ("OK", "")


def test_a_follow_up_of_a_job_without_a_project_is_refused(harness: LedgerHarness) -> None:
    harness.submit("a")
    fence = start(harness, "a")
    harness.ledger.commit("a", fence, Commit(State.FAILED, reason=Reason.BAD_IMAGE))
    assert verdict(harness, "b", follow(harness, "b", "a")) == ("NO_PROJECT", "a")


def test_no_session_record_is_kept_while_only_one_job_has_used_it(harness: LedgerHarness) -> None:
    fence = in_session(harness, "a")
    assert harness.begin("a", fence, "c-a") == "OK"
    settle(harness, "a", fence)
    assert not list(harness.redis.scan_iter("session:*"))
    second = follow(harness, "b", "a")
    assert verdict(harness, "b", second) == ("OK", "")
    assert harness.begin("b", second, "c-b") == "OK"
    settle(harness, "b", second)
    assert harness.ledger.last_message("s") == "c-b"


# --- shared batches


def shared(harness: LedgerHarness, *job_ids: str) -> None:
    harness.ledger.open_batch("b", "name", 1)
    assert harness.ledger.set_session_mode("b", "shared") == "shared"
    for job_id in job_ids:
        harness.submit(job_id, batch_id="b")


def open_session(harness: LedgerHarness, job_id: str, session: str) -> str:
    """Let the admitted job open the batch's session and pay, and return its fence."""
    fence = start(harness, job_id)
    assert verdict(harness, job_id, fence) == ("OK", "")
    if job(harness, job_id).fact("session_id") is None:
        harness.ledger.update_facts(job_id, fence, {"session_id": session})
        assert harness.ledger.share_session(job_id, fence)
    assert harness.begin(job_id, fence, f"c-{job_id}") == "OK"
    return fence


def test_a_shared_batch_admits_one_job_from_upload_to_settled_draft(harness: LedgerHarness) -> None:
    shared(harness, "j1", "j2", "j3")
    fence = open_session(harness, "j1", "s")
    assert harness.admit() == []
    settle(harness, "j1", fence)
    second = open_session(harness, "j2", "never opened")
    assert job(harness, "j2").fact("session_id") == "s"
    assert harness.admit() == []
    settle(harness, "j2", second)
    assert "j3" in harness.admit()


def test_a_paid_job_that_is_retried_keeps_its_session_until_it_is_settled(
    harness: LedgerHarness,
) -> None:
    shared(harness, "j1", "j2")
    first = open_session(harness, "j1", "s")
    harness.ledger.commit("j1", first, Commit(State.FAILED, reason=Reason.BAD_REQUEST))
    second = start(harness, "j2")
    assert harness.ledger.retry("j1") == "OK"
    assert verdict(harness, "j2", second) == ("SESSION_BUSY", "j1")
    settle(harness, "j1", harness.claim("j1", nonce="again"))
    assert verdict(harness, "j2", second) == ("OK", "")


def test_an_unknown_outcome_pauses_a_shared_batch_until_it_is_decided(
    harness: LedgerHarness,
) -> None:
    shared(harness, "j1", "j2")
    fence = open_session(harness, "j1", "s")
    hold(harness, "j1", fence, Reason.OUTCOME_UNKNOWN)
    batch = harness.ledger.batch("b")
    assert batch is not None
    assert (batch.paused, batch.blocked_by) == (True, "j1")
    assert harness.admit() == []
    assert harness.ledger.resume("b")
    assert harness.admit() == [], "resuming does not decide the unknown outcome"
    harness.ledger.release("j1", mode="as_done")
    fence = start(harness, "j1")
    settle(harness, "j1", fence)
    batch = harness.ledger.batch("b")
    assert batch is not None
    assert (batch.paused, batch.blocked_by) == (False, None)
    assert "j2" in harness.admit()


def test_a_session_lost_after_payment_holds_only_the_job_that_paid(harness: LedgerHarness) -> None:
    shared(harness, "j1", "j2")
    fence = open_session(harness, "j1", "s")
    hold(harness, "j1", fence, Reason.SESSION_LOST)
    open_session(harness, "j2", "new")
    assert job(harness, "j2").fact("session_id") == "new"


def test_a_session_lost_before_payment_is_replaced_for_the_rest(harness: LedgerHarness) -> None:
    shared(harness, "j1", "j2")
    settle(harness, "j1", open_session(harness, "j1", "s"))
    fence = start(harness, "j2")
    assert verdict(harness, "j2", fence) == ("OK", "")
    lost = Commit(State.PREPARING, facts={"session_id": "", "uploaded": ""})
    assert harness.ledger.commit("j2", fence, lost)
    open_session(harness, "j2", "new")
    assert job(harness, "j2").fact("session_id") == "new"


def test_an_upload_is_repeated_after_other_jobs_worked_in_the_session(
    harness: LedgerHarness,
) -> None:
    shared(harness, "j1", "j2")
    settle(harness, "j1", open_session(harness, "j1", "s"))
    fence = start(harness, "j2")
    assert verdict(harness, "j2", fence) == ("OK", "")
    harness.ledger.update_facts("j2", fence, {"uploaded": "1"})
    assert verdict(harness, "j2", fence) == ("OK", "")
    assert job(harness, "j2").fact("uploaded") == "1"
    hold(harness, "j2", fence, Reason.CREDITS)
    harness.ledger.release("j2")
    fence = start(harness, "j2")
    assert verdict(harness, "j2", fence) == ("OK", "")
    assert job(harness, "j2").fact("uploaded") is None


def test_a_follow_up_goes_between_two_jobs_of_a_shared_batch(harness: LedgerHarness) -> None:
    shared(harness, "j1", "j2", "j3")
    first = open_session(harness, "j1", "s")
    settle(harness, "j1", first)
    second = open_session(harness, "j2", "s")
    said = follow(harness, "f", "j1")
    assert verdict(harness, "f", said) == ("SESSION_BUSY", "j2")
    settle(harness, "j2", second)
    third = start(harness, "j3")
    assert verdict(harness, "j3", third) == ("SESSION_BUSY", "f")
    assert verdict(harness, "f", said) == ("OK", "")
    assert verdict(harness, "j3", third) == ("SESSION_BUSY", "f")
    settle(harness, "f", said)
    assert verdict(harness, "j3", third) == ("OK", "")


def test_a_redone_job_goes_between_two_jobs_of_a_shared_batch(harness: LedgerHarness) -> None:
    shared(harness, "j1", "j2", "j3")
    settle(harness, "j1", open_session(harness, "j1", "s"))
    second = open_session(harness, "j2", "s")
    again = NewJob(
        id="again", payload={}, fingerprint="f", batch_id="b", parent_id="j1", flow_name="single"
    )
    assert harness.ledger.submit(again).verdict == "OK"
    made = start(harness, "again")
    assert verdict(harness, "again", made) == ("SESSION_BUSY", "j2")
    settle(harness, "j2", second)
    third = start(harness, "j3")
    assert verdict(harness, "j3", third) == ("SESSION_BUSY", "again")
    assert verdict(harness, "again", made) == ("OK", "")
    assert verdict(harness, "again", made) == ("OK", ""), "safe twice"
    assert harness.begin("again", made, "c-again") == "OK"
    settle(harness, "again", made)
    assert verdict(harness, "j3", third) == ("OK", "")


def test_the_session_record_is_deleted_with_the_pruned_job(harness: LedgerHarness) -> None:
    settle(harness, "a", in_session(harness, "a"))
    second = follow(harness, "b", "a")
    assert verdict(harness, "b", second) == ("OK", "")
    assert harness.begin("b", second, "c-b") == "OK"
    harness.ledger.commit("b", second, Commit(State.SUCCEEDED, outcome="done"))
    assert harness.redis.exists("session:{t}:s")
    harness.redis.delete("outbox:{t}")
    assert harness.ledger.scripts.run("prune", 10**15, 0, "b") == ["PRUNED"]
    assert not harness.redis.exists("session:{t}:s")


# --- the queue for a session


def queued_behind(harness: LedgerHarness) -> tuple[str, str, str]:
    """Let job a work in a session, and b, then c, ask for it. Return their fences."""
    first = in_session(harness, "a")
    assert harness.begin("a", first, "c-a") == "OK"
    fences = in_session(harness, "b"), in_session(harness, "c")
    for job_id, fence in zip("bc", fences, strict=True):
        harness.later(1)
        assert harness.begin(job_id, fence, f"c-{job_id}") == "SESSION_BUSY"
    return first, *fences


def test_jobs_acquire_a_session_in_the_order_in_which_they_asked(harness: LedgerHarness) -> None:
    first, second, third = queued_behind(harness)
    settle(harness, "a", first)
    assert verdict(harness, "c", third) == ("SESSION_BUSY", "b")
    assert verdict(harness, "b", second) == ("OK", "")
    assert verdict(harness, "c", third) == ("SESSION_BUSY", "b")
    settle(harness, "b", second)
    assert verdict(harness, "c", third) == ("OK", "")
    assert not harness.redis.exists("session_queue:{t}:s")


def test_a_job_that_backs_off_loses_its_place_in_the_queue(harness: LedgerHarness) -> None:
    first, second, third = queued_behind(harness)
    settle(harness, "a", first)
    assert harness.ledger.commit("b", second, Commit(State.PREPARING, delay=60))
    assert verdict(harness, "c", third) == ("OK", "")


def test_a_job_that_asks_again_soon_keeps_its_place_in_the_queue(harness: LedgerHarness) -> None:
    first, second, third = queued_behind(harness)
    settle(harness, "a", first)
    assert harness.ledger.commit("b", second, Commit(State.PREPARING, delay=2))
    assert verdict(harness, "c", third) == ("SESSION_BUSY", "b")


def test_a_job_that_is_held_leaves_the_queue(harness: LedgerHarness) -> None:
    first, second, third = queued_behind(harness)
    hold(harness, "b", second, Reason.CREDITS)
    assert harness.redis.zrange("session_queue:{t}:s", 0, -1) == ["c"]
    settle(harness, "a", first)
    assert verdict(harness, "c", third) == ("OK", "")


def test_a_session_record_from_before_the_queue_is_still_held_by_its_holder(
    harness: LedgerHarness,
) -> None:
    first = in_session(harness, "a")
    assert harness.begin("a", first, "c-a") == "OK"
    harness.redis.hset("session:{t}:s", mapping={"wanted": "b", "wanted_at": "1000000000"})
    second, third = in_session(harness, "b"), in_session(harness, "c")
    assert verdict(harness, "c", third) == ("SESSION_BUSY", "a")
    settle(harness, "a", first)
    harness.later(1)
    assert verdict(harness, "b", second) == ("SESSION_BUSY", "c")
    assert verdict(harness, "c", third) == ("OK", "")
