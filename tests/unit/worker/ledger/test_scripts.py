"""What each script does, and that each is safe to run twice."""

import json
from collections.abc import Iterator

import pytest
from redis.exceptions import ResponseError

from tests.support.ledger_access import row_ids, submit_many, submit_pages
from tests.unit.worker.ledger.conftest import LEASE, LedgerHarness, commit_again
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.model.submissions import NewJob


def state(harness: LedgerHarness, job_id: str = "j") -> State:
    job = harness.ledger.job(job_id)
    assert job is not None
    return job.state


# --- submit


def test_submit_twice_is_one_job(harness: LedgerHarness) -> None:
    first = harness.ledger.submit(NewJob(id="j", payload={"a": 1}, fingerprint="f", key="k"))
    again = harness.ledger.submit(NewJob(id="j2", payload={"a": 1}, fingerprint="f", key="k"))
    assert (first.verdict, again.verdict, again.job_id) == ("OK", "DUPLICATE", "j")
    assert harness.ledger.counts()[0] == {State.QUEUED: 1}
    assert harness.places("j") == ["flow"]


def test_a_known_key_with_another_payload_is_a_conflict(harness: LedgerHarness) -> None:
    harness.ledger.submit(NewJob(id="j", payload={}, fingerprint="f", key="k"))
    other = harness.ledger.submit(NewJob(id="j2", payload={}, fingerprint="g", key="k"))
    assert (other.verdict, other.job_id) == ("CONFLICT", "j")


def test_a_repeated_submit_without_a_key_creates_no_second_job(harness: LedgerHarness) -> None:
    harness.submit("j")
    harness.submit("j")
    assert harness.redis.lrange("flow:{t}:single:normal", 0, -1) == ["j"]


def test_many_jobs_of_many_batches_are_each_in_their_flow(harness: LedgerHarness) -> None:
    harness.ledger.open_batch("paused", "name", 1)
    harness.ledger.pause("paused")
    batches = ("", "open", "paused")
    jobs = [
        NewJob(
            id=f"j{n}",
            payload={"prompt": "Über «alles», 慢"},
            fingerprint=str(n),
            key=f"k{n}",
            priority=("low", "high")[n % 2],
            batch_id=batches[n % 3],
            row=1000 - n,
            lane="single" if n % 5 == 0 else "",
        )
        for n in range(600)
    ]
    done = submit_many(harness.ledger, [*jobs[:300], *jobs[100:200], *jobs[300:]])
    verdicts = ["OK"] * 300 + ["DUPLICATE"] * 100 + ["OK"] * 300
    assert [answer.verdict for answer in done] == verdicts
    assert harness.ledger.counts()[0] == {State.QUEUED: 600}
    for name in batches[1:]:
        mine = [job for job in jobs if job.batch_id == name]
        batch = harness.ledger.batch(name)
        assert batch is not None
        assert (batch.total, batch.counts[State.QUEUED]) == (200, 200)
        assert row_ids(harness.ledger, name) == [job.id for job in reversed(mine)]
    flows = {flow for job in jobs if (flow := job.flow)}
    assert set(harness.ledger.flows()) == {flow for flow in flows if not flow.startswith("paused")}
    for flow in flows:
        waiting = harness.redis.lrange(f"flow:{{t}}:{flow}", 0, -1)
        assert waiting == [job.id for job in jobs if job.flow == flow]
    record = harness.ledger.job("j7")
    assert record is not None
    assert record.payload == jobs[7].payload


def test_jobs_before_one_that_cannot_be_written_are_in_their_flows(harness: LedgerHarness) -> None:
    harness.redis.rpush("idem:{t}:k1", "not a text")
    jobs = [NewJob(id=f"j{n}", payload={}, fingerprint="f", key=f"k{n}") for n in range(3)]
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        submit_many(harness.ledger, jobs)
    assert harness.places("j0") == ["flow"]
    assert harness.ledger.counts()[0] == {State.QUEUED: 1}
    harness.redis.delete("idem:{t}:k1")
    again = [answer.verdict for answer in submit_many(harness.ledger, jobs)]
    assert again == ["DUPLICATE", "OK", "OK"]
    assert harness.admit() == ["j0", "j1", "j2"]


@pytest.mark.parametrize("broken", [1, 2, 5])
def test_a_connection_that_breaks_between_pages_loses_and_duplicates_no_job(
    harness: LedgerHarness, broken: int
) -> None:
    def made() -> Iterator[list[NewJob]]:
        for page in range(6):
            if page == broken:
                harness.redis.script_flush()
                harness.redis.client_kill_filter(_type="normal")
            yield [new(f"j{page}-{row}", page * 10 + row) for row in range(10)]

    def new(job_id: str, row: int) -> NewJob:
        return NewJob(job_id, {}, fingerprint="f", key=job_id, batch_id="b", row=row)

    answers = [answer for page in submit_pages(harness.ledger, made()) for answer in page]
    assert {answer.verdict for answer in answers} <= {"OK", "DUPLICATE"}
    ids = [answer.job_id for answer in answers]
    assert ids == [job.id for page in made() for job in page]
    assert harness.ledger.counts()[0] == {State.QUEUED: 60}
    assert harness.redis.lrange("flow:{t}:b:normal", 0, -1) == ids


def test_the_next_page_is_taken_while_the_previous_one_is_written(harness: LedgerHarness) -> None:
    seen = []

    def made() -> Iterator[list[NewJob]]:
        for page in range(3):
            seen.append(f"made {page}")
            yield [NewJob(id=f"j{page}", payload={}, fingerprint="f")]

    for page, _ in enumerate(submit_pages(harness.ledger, made())):
        seen.append(f"written {page}")
    assert seen == ["made 0", "made 1", "written 0", "made 2", "written 1", "written 2"]


def test_a_refused_page_raises_an_error(harness: LedgerHarness) -> None:
    harness.redis.rpush("idem:{t}:k", "not a text")
    pages = [[NewJob(id=key, payload={}, fingerprint="f", key=key)] for key in ("j", "k", "l")]
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        list(submit_pages(harness.ledger, pages))
    assert harness.ledger.submit(pages[0][0]).verdict == "DUPLICATE"


# --- due


def test_due_returns_no_more_jobs_than_there_is_room_for(harness: LedgerHarness) -> None:
    for n in range(5):
        harness.submit(f"j{n}")
    assert len(harness.ledger.due(100, room=2, admit=100)) == 2
    assert harness.ledger.due(100, room=0, admit=100) == []
    assert len(harness.ledger.due(100, room=100, admit=4)) == 2, "two were admitted before"


def test_due_returns_a_job_again_that_no_worker_claims(harness: LedgerHarness) -> None:
    harness.submit("j")
    assert harness.admit() == ["j"]
    assert harness.admit() == [], "not before the redispatch time"
    harness.later(LEASE + 1)
    harness.admit()  # the first tick after an outage starts the grace period
    assert harness.places("j") == ["agenda"]
    harness.later(LEASE + 1)
    assert harness.admit() == ["j"]


def test_priorities_share_starts_by_weight(harness: LedgerHarness) -> None:
    for n in range(40):
        harness.submit(f"h{n}", "high")
        harness.submit(f"n{n}", "normal")
        harness.submit(f"l{n}", "low")
    first = harness.admit(21)
    assert sum(j[0] == "h" for j in first) in (15, 16, 17)
    assert sum(j[0] == "n" for j in first) in (3, 4, 5)
    assert sum(j[0] == "l" for j in first) in (1, 2)


def test_a_small_batch_behind_a_large_one_starts_immediately(harness: LedgerHarness) -> None:
    for n in range(200):
        harness.submit(f"big{n}", batch_id="big")
    harness.admit(100)
    for n in range(3):
        harness.submit(f"small{n}", batch_id="small")
    next_ones = harness.ledger.due(8, room=8, admit=200)
    assert sum(job_id.startswith("small") for job_id, _ in next_ones) == 3


def test_a_paused_batch_starts_no_job_and_loses_none(harness: LedgerHarness) -> None:
    harness.ledger.open_batch("b", "name", 1)
    harness.submit("j1", batch_id="b")
    assert harness.ledger.pause("b")
    harness.submit("j2", batch_id="b")
    assert harness.admit() == []
    assert harness.ledger.resume("b")
    assert harness.admit() == ["j1", "j2"]
    assert not harness.ledger.pause("nobody")


def test_jobs_are_not_taken_over_right_after_an_outage(harness: LedgerHarness) -> None:
    harness.submit("j")
    harness.admit()
    harness.claim("j")
    harness.later(5 * LEASE)  # no tick and no heartbeat
    assert harness.admit() == []
    assert harness.ledger.heartbeat([("j", "1:n1")]) == [True]
    harness.later(LEASE / 2)
    assert harness.admit() == [], "the owner lives"


# --- claim, heartbeat, commit


def test_a_job_has_one_owner_and_a_repeated_claim_gets_the_same_fence(
    harness: LedgerHarness,
) -> None:
    harness.submit("j")
    harness.admit()
    fence = harness.claim("j")
    assert harness.claim("j") == fence
    assert harness.ledger.claim("j", "w2", "n2").verdict == "BUSY"
    assert harness.ledger.claim("j", "w1", "other").verdict == "BUSY"


def test_only_the_newest_fence_commits(harness: LedgerHarness) -> None:
    harness.submit("j")
    harness.admit()
    old = harness.claim("j")
    harness.later(LEASE + 1)
    new = harness.claim("j", "w2", "n2")
    assert not harness.ledger.commit("j", old, Commit(State.GENERATING))
    assert not harness.ledger.update_facts("j", old, {"x": "1"})
    assert harness.ledger.heartbeat([("j", old), ("j", new)]) == [False, True]
    assert harness.ledger.commit("j", new, Commit(State.GENERATING))
    assert state(harness) is State.GENERATING


def test_a_repeated_commit_counts_once(harness: LedgerHarness) -> None:
    fence = harness.running()
    end = Commit(State.SUCCEEDED)
    assert commit_again(harness.ledger, "j", fence, end, nonce="x") == "OK"
    assert commit_again(harness.ledger, "j", fence, end, nonce="x") == "OK"
    assert harness.ledger.counts()[0] == {State.SUCCEEDED: 1}
    assert harness.places("j") == ["end"]


def test_a_claim_before_the_due_time_is_refused(harness: LedgerHarness) -> None:
    fence = harness.running()
    harness.ledger.commit("j", fence, Commit(State.RENDERING, delay=30))
    assert harness.ledger.claim("j", "w2", "n2").verdict == "EARLY"
    assert harness.admit() == []
    harness.later(31)
    harness.admit()
    assert harness.ledger.claim("j", "w2", "n2").verdict == "OK"


def test_a_job_that_kills_five_workers_is_held_and_can_be_released(harness: LedgerHarness) -> None:
    harness.submit("j")
    harness.admit()
    for n in range(5):
        harness.claim("j", f"w{n}", f"n{n}")
        harness.later(2 * LEASE)
    assert harness.ledger.claim("j", "w9", "n9").verdict == "POISON"
    job = harness.ledger.job("j")
    assert job is not None
    assert job.reason is Reason.POISON
    assert harness.places("j") == ["held:{t}:-:poison"]
    assert harness.ledger.release("j") == "OK"
    assert harness.admit() == ["j"]


def test_only_one_suspect_runs_at_a_time(harness: LedgerHarness) -> None:
    for name in ("a", "b"):
        harness.submit(name)
    harness.admit()
    for n in range(2):
        for name in ("a", "b"):
            harness.claim(name, f"w{n}", f"n{n}")
        harness.later(2 * LEASE)
    harness.claim("a", "w2", "n2")
    assert harness.ledger.claim("b", "w2", "n2").verdict == "EARLY"


# --- payments


def test_a_turn_has_one_intent(harness: LedgerHarness) -> None:
    fence = harness.running()
    assert harness.begin("j", fence) == "OK"
    assert harness.begin("j", fence) == "OK", "a lost reply"
    assert harness.begin("j", fence, call="c2") == "ALREADY"
    assert harness.begin("j", fence, call="c2", turn=2) == "CLOSED"
    job = harness.ledger.job("j")
    account = harness.ledger.account("a")
    assert job is not None
    assert account is not None
    assert (job.paid_messages, account.reserved) == (1, 100)


def test_a_worker_that_was_frozen_past_its_lease_cannot_pay(harness: LedgerHarness) -> None:
    old = harness.running()
    harness.later(LEASE + 1)
    harness.claim("j", "w2", "n2")
    assert harness.begin("j", old) == "LOST"


def test_reservations_never_exceed_the_balance(harness: LedgerHarness) -> None:
    fence = harness.running(balance=250)
    verdicts = [harness.begin("j", fence)]
    for name in ("k", "l"):
        harness.submit(name)
        harness.admit()
        other = harness.claim(name)
        harness.ledger.update_facts(name, other, {"account": "a"})
        verdicts.append(harness.begin(name, other))
    assert verdicts == ["OK", "OK", "NO_CREDIT"]


def test_a_running_message_is_counted_once_against_the_balance(harness: LedgerHarness) -> None:
    """While it runs, its cost is both frozen by the API and reserved in the ledger."""
    fence = harness.running(balance=300)
    harness.begin("j", fence)
    harness.payments.record_balance("a", read_at=2, available=200, frozen=100, total=300)
    account = harness.ledger.account("a")
    assert account is not None
    assert account.headroom == 200
    harness.payments.record_fact("j", "c1", "ended", "clean")
    harness.later(1)
    later = int(harness.redis.get("test:clock") or 0)
    harness.payments.record_balance("a", read_at=later, available=200, frozen=0, total=200)
    account = harness.ledger.account("a")
    assert account is not None
    assert (account.headroom, account.reserved, account.spent) == (200, 0, 100)


def test_the_intent_of_an_uncharged_message_is_released_once(harness: LedgerHarness) -> None:
    fence = harness.running()
    harness.begin("j", fence)
    assert not harness.payments.release("j", "c1", "stream_broke"), "may be charged"
    assert harness.payments.release("j", "c1", "token_refused")
    assert harness.payments.release("j", "c1", "token_refused")
    account = harness.ledger.account("a")
    assert account is not None
    assert account.reserved == 0
    assert harness.begin("j", fence, call="c2") == "OK"


def test_a_second_turn_opens_only_after_a_question(harness: LedgerHarness) -> None:
    fence = harness.running()
    harness.begin("j", fence)
    harness.ledger.commit("j", fence, Commit(State.GENERATING, outcome="question"))
    fence = harness.claim("j", nonce="n2")
    assert harness.begin("j", fence, call="c2", turn=1) == "ALREADY"
    assert harness.begin("j", fence, call="c2", turn=2) == "OK"


def test_a_paid_result_survives_a_lost_lease(harness: LedgerHarness) -> None:
    fence = harness.running()
    harness.begin("j", fence)
    harness.later(LEASE + 1)
    harness.claim("j", "w2", "n2")
    assert harness.payments.record_fact("j", "c1", "ended", "clean")
    assert harness.payments.record_fact("j", "c1", "ended", "broken"), (
        "known, and the first value stays"
    )
    assert not harness.payments.record_fact("j", "c9", "ended", "clean")
    job = harness.ledger.job("j")
    assert job is not None
    assert job.call_fact("ended") == "clean"


def test_messages_in_flight_are_limited_and_a_dead_workers_slot_is_freed(
    harness: LedgerHarness,
) -> None:
    fence = harness.running()
    harness.payments.begin("j", fence, turn=1, call="c1", cost=1, cap=1)
    harness.submit("k")
    harness.admit()
    other = harness.claim("k", "w2", "n2")
    harness.ledger.update_facts("k", other, {"account": "a"})
    intent = harness.payments.begin("k", other, turn=1, call="c2", cost=1, cap=1)
    assert intent.verdict == "NO_SLOT"
    harness.later(LEASE - 1)
    harness.ledger.heartbeat([("k", other)])
    harness.later(3)
    intent = harness.payments.begin("k", other, turn=1, call="c2", cost=1, cap=1)
    assert intent.verdict == "OK", "the owner of c1 sends no heartbeats"


def test_a_batch_does_not_spend_more_than_its_budget(harness: LedgerHarness) -> None:
    harness.ledger.open_batch("b", "name", 1)
    harness.redis.hset("batch:{t}:b", "max_credits", "150")
    harness.payments.record_balance("a", read_at=1, available=1000, frozen=0, total=1000)
    verdicts = []
    for name in ("j", "k"):
        harness.submit(name, batch_id="b")
        harness.admit()
        fence = harness.claim(name)
        harness.ledger.update_facts(name, fence, {"account": "a"})
        verdicts.append(harness.begin(name, fence, call=f"c-{name}"))
    assert verdicts == ["OK", "BUDGET"]


def test_a_paused_account_pays_for_nothing(harness: LedgerHarness) -> None:
    fence = harness.running()
    harness.redis.hset("account:{t}:a", "cooling_until", 1_000_030_000)
    intent = harness.payments.begin("j", fence, turn=1, call="c1", cost=1, cap=1)
    assert (intent.verdict, intent.wait) == ("COOLING", 30)


# --- cancel, release, retry, outbox


def test_cancel_before_and_after_the_payment(harness: LedgerHarness) -> None:
    harness.submit("q")
    assert harness.ledger.cancel("q") == "CANCELLED"
    assert harness.ledger.cancel("q") == "ENDED"
    assert harness.places("q") == ["end"]
    fence = harness.running()
    assert harness.ledger.cancel("j") == "REQUESTED"
    assert harness.begin("j", fence) == "CANCELLED"
    assert harness.ledger.cancel("nobody") == "GONE"


def test_a_released_unpaid_job_queues_again(harness: LedgerHarness) -> None:
    fence = harness.running()
    harness.ledger.commit(
        "j", fence, Commit(State.HELD, reason=Reason.CREDITS, resume=State.GENERATING)
    )
    assert harness.places("j") == ["held:{t}:a:credits"]
    assert harness.ledger.held_ids(Reason.CREDITS) == ["j"]
    assert harness.ledger.release("j") == "OK"
    assert harness.ledger.release("j") == "NOT_HELD"
    assert harness.places("j") == ["flow"]


def test_an_unknown_outcome_needs_a_decision(harness: LedgerHarness) -> None:
    fence = harness.running()
    harness.begin("j", fence)
    harness.ledger.commit(
        "j", fence, Commit(State.HELD, reason=Reason.OUTCOME_UNKNOWN, resume=State.SETTLING)
    )
    assert harness.ledger.release("j") == "NEEDS_CHOICE"
    assert harness.ledger.retry("j") == "NOT_FAILED"
    assert harness.ledger.release("j", mode="pay_again", who="ann") == "OK"
    harness.admit()
    fence = harness.claim("j", nonce="n2")
    assert harness.begin("j", fence, call="c1") == "ALREADY", "the archived call stays archived"
    assert harness.begin("j", fence, call="c2", turn=2) == "OK"
    job = harness.ledger.job("j")
    assert job is not None
    (decision,) = json.loads(job.facts["decisions"])
    assert (decision["choice"], decision["by"]) == ("pay_again", "ann")


def test_accepting_the_current_draft_pays_nothing(harness: LedgerHarness) -> None:
    fence = harness.running()
    harness.begin("j", fence)
    harness.ledger.commit(
        "j", fence, Commit(State.HELD, reason=Reason.OUTCOME_UNKNOWN, resume=State.SETTLING)
    )
    assert harness.ledger.release("j", mode="as_done", who="ann") == "OK"
    assert state(harness) is State.SETTLING


def hold_in_second_turn(harness: LedgerHarness) -> str:
    """Hold a job over its first message, pay again, and return the fence of the open turn."""
    fence = harness.running()
    harness.begin("j", fence)
    harness.ledger.commit(
        "j", fence, Commit(State.HELD, reason=Reason.OUTCOME_UNKNOWN, resume=State.SETTLING)
    )
    assert harness.ledger.release("j", mode="pay_again") == "OK"
    harness.admit()
    return harness.claim("j", nonce="n2")


def test_a_turn_that_a_person_took_as_done_is_not_paid_when_there_is_no_draft(
    harness: LedgerHarness,
) -> None:
    fence = hold_in_second_turn(harness)
    lost = Commit(State.HELD, reason=Reason.SESSION_LOST, resume=State.PREPARING)
    harness.ledger.commit("j", fence, lost)
    assert harness.ledger.release("j", mode="as_done") == "OK"
    assert state(harness) is State.SETTLING
    fence = harness.claim("j", nonce="n3")
    no_draft = Commit(
        State.HELD,
        reason=Reason.OUTCOME_UNKNOWN,
        resume=State.SETTLING,
        facts={"as_done": ""},
    )
    assert harness.ledger.commit("j", fence, no_draft)
    assert state(harness) is State.HELD
    assert harness.ledger.release("j") == "NEEDS_CHOICE"
    assert harness.ledger.release("j", mode="pay_again") == "OK"
    harness.admit()
    fence = harness.claim("j", nonce="n4")
    assert harness.begin("j", fence, call="c2", turn=2) == "OK", "only a decision opens it"


def test_a_job_held_before_its_answer_to_a_question_can_pay_again(harness: LedgerHarness) -> None:
    fence = harness.running()
    harness.begin("j", fence)
    harness.ledger.commit("j", fence, Commit(State.GENERATING, outcome="question"))
    fence = harness.claim("j", nonce="n2")
    late = Commit(State.HELD, reason=Reason.QUESTION, resume=State.SETTLING)
    assert harness.ledger.commit("j", fence, late)
    assert harness.ledger.release("j", mode="pay_again") == "OK"
    job = harness.ledger.job("j")
    assert job is not None
    assert (job.turn, job.turns[0].outcome) == (2, "pay_again"), "no more a question to answer"
    harness.admit()
    fence = harness.claim("j", nonce="n3")
    assert harness.begin("j", fence, call="c2", turn=2) == "OK"


def test_retry_of_a_paid_job_continues_behind_the_payment(harness: LedgerHarness) -> None:
    fence = harness.running()
    harness.begin("j", fence)
    harness.ledger.commit(
        "j",
        fence,
        Commit(State.FAILED, reason=Reason.RENDER_FAILED, facts={"draft": "{}"}),
    )
    assert harness.ledger.retry("j") == "OK"
    assert harness.ledger.retry("j") == "NOT_FAILED"
    assert state(harness) is State.RENDERING


def test_each_end_adds_an_outbox_entry_and_a_newer_end_keeps_it(harness: LedgerHarness) -> None:
    fence = harness.running()
    harness.ledger.commit("j", fence, Commit(State.FAILED, reason=Reason.RENDER_FAILED))
    assert harness.redis.zrange("outbox:{t}", 0, -1) == ["job:j"]
    harness.ledger.retry("j")
    harness.admit()
    fence = harness.claim("j", nonce="n2")
    harness.ledger.commit("j", fence, Commit(State.FAILED, reason=Reason.RENDER_FAILED))
    harness.ledger.acknowledge_notification("job:j", 1)
    assert harness.redis.zrange("outbox:{t}", 0, -1) == ["job:j"], "revision 2 is still pending"
    harness.ledger.acknowledge_notification("job:j", 2)
    assert harness.redis.zrange("outbox:{t}", 0, -1) == []


def test_the_counters_add_up(harness: LedgerHarness) -> None:
    harness.ledger.open_batch("b", "name", 1)
    for name in ("p", "q", "r", "s"):
        harness.submit(name, batch_id="b")
    harness.ledger.cancel("s")
    harness.admit(2)
    fence = harness.claim("p")
    harness.ledger.commit(
        "p", fence, Commit(State.HELD, reason=Reason.PLAN, resume=State.RENDERING)
    )
    batch = harness.ledger.batch("b")
    assert batch is not None
    assert (batch.total, batch.open, batch.running) == (4, 2, 1)
    assert batch.held_by == {Reason.PLAN: 1}
    assert harness.ledger.counts()[0] == batch.counts


def test_a_released_call_cannot_be_opened_by_a_late_repetition(harness: LedgerHarness) -> None:
    fence = harness.running()
    harness.begin("j", fence)
    harness.payments.release("j", "c1", "not_sent")
    assert harness.begin("j", fence) == "LOST"


def test_an_account_without_credits_pays_again_only_when_its_balance_has_grown(
    harness: LedgerHarness,
) -> None:
    fence = harness.running(balance=500)
    harness.payments.record_credits_refused("a")
    assert harness.begin("j", fence) == "NO_CREDIT"
    harness.payments.record_balance("a", read_at=2, available=500, frozen=0, total=500)
    account = harness.ledger.account("a")
    assert account is not None
    assert account.affordable_clips(1) == 0
    harness.payments.record_balance("a", read_at=3, available=501, frozen=0, total=501)
    assert harness.begin("j", fence) == "OK"


def test_the_longer_of_two_pauses_counts(harness: LedgerHarness) -> None:
    fence = harness.running()
    harness.payments.record_rate_limited("a", 300)
    harness.payments.record_rate_limited("a", 30)
    assert harness.payments.begin("j", fence, turn=1, call="c", cost=1, cap=1).wait == 300


def test_a_job_cancelled_during_an_unpaid_step_ends_with_the_step(harness: LedgerHarness) -> None:
    fence = harness.running()
    assert harness.ledger.cancel("j") == "REQUESTED"
    harness.ledger.commit(
        "j", fence, Commit(State.HELD, reason=Reason.CREDITS, resume=State.PREPARING)
    )
    assert state(harness) is State.CANCELLED
    assert harness.places("j") == ["end"]


def test_a_cancelled_paid_job_continues(harness: LedgerHarness) -> None:
    fence = harness.running()
    harness.begin("j", fence)
    assert harness.ledger.cancel("j") == "CONTINUES"
    harness.ledger.commit("j", fence, Commit(State.SETTLING))
    assert state(harness) is State.SETTLING


def test_the_reservation_of_a_job_cancelled_after_poison_is_released(
    harness: LedgerHarness,
) -> None:
    fence = harness.running()
    harness.begin("j", fence)
    for n in range(5):
        harness.later(2 * LEASE)
        harness.ledger.claim("j", f"w{n}", f"m{n}")
    assert state(harness) is State.HELD
    harness.ledger.cancel("j")
    harness.later(1)
    later = int(harness.redis.get("test:clock") or 0)
    harness.payments.record_balance("a", read_at=later, available=900, frozen=0, total=900)
    account = harness.ledger.account("a")
    assert account is not None
    assert account.reserved == 0


def test_paying_again_deletes_the_facts_of_the_archived_message(harness: LedgerHarness) -> None:
    fence = harness.running()
    harness.begin("j", fence)
    facts = {"draft": "{}", "render_id": "r", "render_submitted": "1", "tries": "3"}
    lost = Commit(State.HELD, reason=Reason.SESSION_LOST, resume=State.RENDERING, facts=facts)
    harness.ledger.commit("j", fence, lost)
    assert harness.ledger.release("j", mode="pay_again", who="ann") == "OK"
    job = harness.ledger.job("j")
    assert job is not None
    assert [job.fact(name) for name in facts] == [None] * 4


def test_a_released_paid_job_never_queues(harness: LedgerHarness) -> None:
    fence = harness.running()
    harness.begin("j", fence)
    harness.ledger.commit(
        "j", fence, Commit(State.HELD, reason=Reason.POISON, resume=State.GENERATING)
    )
    assert harness.ledger.release("j") == "OK"
    assert state(harness) is State.SETTLING
    assert harness.places("j") == ["agenda"]
