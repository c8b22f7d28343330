"""The scripts, one after another: what each does, and that each is safe twice."""

import json
from collections.abc import Iterator

import pytest
from redis.exceptions import ResponseError

from tests.support.ledger_access import row_ids, submit_many
from tests.unit.worker.ledger.conftest import LEASE, House, commit_again
from worker.ledger.ledger import Commit
from worker.ledger.model.states import Reason, State
from worker.ledger.model.submissions import NewJob


def state(house: House, job_id: str = "j") -> State:
    job = house.ledger.job(job_id)
    assert job is not None
    return job.state


# --- submit


def test_submit_twice_is_one_job(house: House) -> None:
    first = house.ledger.submit(NewJob(id="j", payload={"a": 1}, fingerprint="f", key="k"))
    again = house.ledger.submit(NewJob(id="j2", payload={"a": 1}, fingerprint="f", key="k"))
    assert (first.verdict, again.verdict, again.job_id) == ("OK", "DUPLICATE", "j")
    assert house.ledger.counts()[0] == {State.QUEUED: 1}
    assert house.places("j") == ["flow"]


def test_a_known_key_with_another_payload_is_a_conflict(house: House) -> None:
    house.ledger.submit(NewJob(id="j", payload={}, fingerprint="f", key="k"))
    other = house.ledger.submit(NewJob(id="j2", payload={}, fingerprint="g", key="k"))
    assert (other.verdict, other.job_id) == ("CONFLICT", "j")


def test_a_lost_reply_to_a_keyless_submit_makes_no_second_job(house: House) -> None:
    house.submit("j")
    house.submit("j")
    assert house.redis.lrange("flow:{t}:single:normal", 0, -1) == ["j"]


def test_many_jobs_of_many_batches_are_each_in_their_place(house: House) -> None:
    house.ledger.open_batch("paused", "name", 1)
    house.ledger.pause("paused")
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
    done = submit_many(house.ledger, [*jobs[:300], *jobs[100:200], *jobs[300:]])
    verdicts = ["OK"] * 300 + ["DUPLICATE"] * 100 + ["OK"] * 300
    assert [answer.verdict for answer in done] == verdicts
    assert house.ledger.counts()[0] == {State.QUEUED: 600}
    for name in batches[1:]:
        mine = [job for job in jobs if job.batch_id == name]
        batch = house.ledger.batch(name)
        assert batch is not None
        assert (batch.total, batch.counts[State.QUEUED]) == (200, 200)
        assert row_ids(house.ledger, name) == [job.id for job in reversed(mine)]
    flows = {flow for job in jobs if (flow := job.flow)}
    assert set(house.ledger.flows()) == {flow for flow in flows if not flow.startswith("paused")}
    for flow in flows:
        waiting = house.redis.lrange(f"flow:{{t}}:{flow}", 0, -1)
        assert waiting == [job.id for job in jobs if job.flow == flow]
    record = house.ledger.job("j7")
    assert record is not None
    assert record.payload == jobs[7].payload


def test_jobs_before_one_that_cannot_be_written_are_in_their_places(house: House) -> None:
    house.redis.rpush("idem:{t}:k1", "not a text")
    jobs = [NewJob(id=f"j{n}", payload={}, fingerprint="f", key=f"k{n}") for n in range(3)]
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        submit_many(house.ledger, jobs)
    assert house.places("j0") == ["flow"]
    assert house.ledger.counts()[0] == {State.QUEUED: 1}
    house.redis.delete("idem:{t}:k1")
    again = [answer.verdict for answer in submit_many(house.ledger, jobs)]
    assert again == ["DUPLICATE", "OK", "OK"]
    assert house.admit() == ["j0", "j1", "j2"]


@pytest.mark.parametrize("broken", [1, 2, 5])
def test_a_line_that_breaks_under_way_loses_no_job_and_doubles_none(
    house: House, broken: int
) -> None:
    def made() -> Iterator[list[NewJob]]:
        for page in range(6):
            if page == broken:
                house.redis.script_flush()
                house.redis.client_kill_filter(_type="normal")
            yield [new(f"j{page}-{row}", page * 10 + row) for row in range(10)]

    def new(job_id: str, row: int) -> NewJob:
        return NewJob(job_id, {}, fingerprint="f", key=job_id, batch_id="b", row=row)

    answers = [answer for page in house.ledger.submit_pages(made()) for answer in page]
    assert {answer.verdict for answer in answers} <= {"OK", "DUPLICATE"}
    ids = [answer.job_id for answer in answers]
    assert ids == [job.id for page in made() for job in page]
    assert house.ledger.counts()[0] == {State.QUEUED: 60}
    assert house.redis.lrange("flow:{t}:b:normal", 0, -1) == ids


def test_a_page_is_asked_for_while_the_one_before_is_written(house: House) -> None:
    seen = []

    def made() -> Iterator[list[NewJob]]:
        for page in range(3):
            seen.append(f"made {page}")
            yield [NewJob(id=f"j{page}", payload={}, fingerprint="f")]

    for page, _ in enumerate(house.ledger.submit_pages(made())):
        seen.append(f"written {page}")
    assert seen == ["made 0", "made 1", "written 0", "made 2", "written 1", "written 2"]


def test_a_server_that_refuses_a_page_is_heard(house: House) -> None:
    house.redis.rpush("idem:{t}:k", "not a text")
    pages = [[NewJob(id=key, payload={}, fingerprint="f", key=key)] for key in ("j", "k", "l")]
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        list(house.ledger.submit_pages(pages))
    assert house.ledger.submit(pages[0][0]).verdict == "DUPLICATE"


# --- due


def test_due_hands_out_no_more_than_there_is_room_for(house: House) -> None:
    for n in range(5):
        house.submit(f"j{n}")
    assert len(house.ledger.due(100, room=2, admit=100)) == 2
    assert house.ledger.due(100, room=0, admit=100) == []
    assert len(house.ledger.due(100, room=100, admit=4)) == 2, "two were admitted before"


def test_due_rearms_and_never_loses_an_entry_that_nobody_claims(house: House) -> None:
    house.submit("j")
    assert house.admit() == ["j"]
    assert house.admit() == [], "not before the grace is over"
    house.later(LEASE + 1)
    house.admit()  # the first tick after a pause opens the grace for owners
    assert house.places("j") == ["agenda"]
    house.later(LEASE + 1)
    assert house.admit() == ["j"]


def test_priorities_share_by_weight(house: House) -> None:
    for n in range(40):
        house.submit(f"h{n}", "high")
        house.submit(f"n{n}", "normal")
        house.submit(f"l{n}", "low")
    first = house.admit(21)
    assert sum(j[0] == "h" for j in first) in (15, 16, 17)
    assert sum(j[0] == "n" for j in first) in (3, 4, 5)
    assert sum(j[0] == "l" for j in first) in (1, 2)


def test_a_small_batch_behind_a_large_one_starts_at_once(house: House) -> None:
    for n in range(200):
        house.submit(f"big{n}", batch_id="big")
    house.admit(100)
    for n in range(3):
        house.submit(f"small{n}", batch_id="small")
    next_ones = house.ledger.due(8, room=8, admit=200)
    assert sum(job_id.startswith("small") for job_id, _ in next_ones) == 3


def test_a_paused_batch_does_not_start_and_loses_nothing(house: House) -> None:
    house.ledger.open_batch("b", "name", 1)
    house.submit("j1", batch_id="b")
    assert house.ledger.pause("b")
    house.submit("j2", batch_id="b")
    assert house.admit() == []
    assert house.ledger.resume("b")
    assert house.admit() == ["j1", "j2"]
    assert not house.ledger.pause("nobody")


def test_no_mass_reclaim_after_the_server_was_away(house: House) -> None:
    house.submit("j")
    house.admit()
    house.claim("j")
    house.later(5 * LEASE)  # nobody ticked, nobody could beat
    assert house.admit() == []
    assert house.ledger.heartbeat([("j", 1)]) == [True]
    house.later(LEASE / 2)
    assert house.admit() == [], "the owner lives"


# --- claim, beat, commit


def test_one_owner_at_a_time_and_a_repeated_call_is_the_same(house: House) -> None:
    house.submit("j")
    house.admit()
    fence = house.claim("j")
    assert house.claim("j") == fence
    assert house.ledger.claim("j", "w2", "n2").verdict == "BUSY"
    assert house.ledger.claim("j", "w1", "other").verdict == "BUSY"


def test_only_the_newest_fence_commits(house: House) -> None:
    house.submit("j")
    house.admit()
    old = house.claim("j")
    house.later(LEASE + 1)
    new = house.claim("j", "w2", "n2")
    assert not house.ledger.commit("j", old, Commit(State.GENERATING))
    assert not house.ledger.update_facts("j", old, {"x": "1"})
    assert house.ledger.heartbeat([("j", old), ("j", new)]) == [False, True]
    assert house.ledger.commit("j", new, Commit(State.GENERATING))
    assert state(house) is State.GENERATING


def test_a_commit_whose_reply_was_lost_counts_once(house: House) -> None:
    fence = house.running()
    end = Commit(State.SUCCEEDED)
    assert commit_again(house.ledger, "j", fence, end, nonce="x")
    assert commit_again(house.ledger, "j", fence, end, nonce="x")
    assert house.ledger.counts()[0] == {State.SUCCEEDED: 1}
    assert house.places("j") == ["end"]


def test_an_early_hint_is_sent_away(house: House) -> None:
    fence = house.running()
    house.ledger.commit("j", fence, Commit(State.RENDERING, delay=30))
    assert house.ledger.claim("j", "w2", "n2").verdict == "EARLY"
    assert house.admit() == []
    house.later(31)
    house.admit()
    assert house.ledger.claim("j", "w2", "n2").verdict == "OK"


def test_a_job_that_kills_five_workers_is_held_and_can_be_released(house: House) -> None:
    house.submit("j")
    house.admit()
    for n in range(5):
        house.claim("j", f"w{n}", f"n{n}")
        house.later(2 * LEASE)
    assert house.ledger.claim("j", "w9", "n9").verdict == "POISON"
    job = house.ledger.job("j")
    assert job is not None
    assert job.reason is Reason.POISON
    assert house.places("j") == ["held:{t}:-:poison"]
    assert house.ledger.release("j") == "OK"
    assert house.admit() == ["j"]


def test_only_one_suspect_runs_at_a_time(house: House) -> None:
    for name in ("a", "b"):
        house.submit(name)
    house.admit()
    for n in range(2):
        for name in ("a", "b"):
            house.claim(name, f"w{n}", f"n{n}")
        house.later(2 * LEASE)
    house.claim("a", "w2", "n2")
    assert house.ledger.claim("b", "w2", "n2").verdict == "EARLY"


# --- money


def test_an_intent_is_one_shot_a_turn(house: House) -> None:
    fence = house.running()
    assert house.begin("j", fence) == "OK"
    assert house.begin("j", fence) == "OK", "a lost reply"
    assert house.begin("j", fence, call="c2") == "ALREADY"
    assert house.begin("j", fence, call="c2", turn=2) == "CLOSED"
    job = house.ledger.job("j")
    account = house.ledger.account("a")
    assert job is not None
    assert account is not None
    assert (job.paid_messages, account.reserved) == (1, 100)


def test_a_worker_that_slept_past_its_lease_cannot_pay(house: House) -> None:
    old = house.running()
    house.later(LEASE + 1)
    house.claim("j", "w2", "n2")
    assert house.begin("j", old) == "LOST"


def test_reservations_never_exceed_the_balance(house: House) -> None:
    fence = house.running(balance=250)
    verdicts = [house.begin("j", fence)]
    for name in ("k", "l"):
        house.submit(name)
        house.admit()
        other = house.claim(name)
        house.ledger.update_facts(name, other, {"account": "a"})
        verdicts.append(house.begin(name, other))
    assert verdicts == ["OK", "OK", "NO_CREDIT"]


def test_money_of_a_running_message_is_counted_once(house: House) -> None:
    """While it runs, the API shows it as frozen and we hold a reservation: one and the same."""
    fence = house.running(balance=300)
    house.begin("j", fence)
    house.payments.record_balance("a", read_at=2, available=200, frozen=100, total=300)
    account = house.ledger.account("a")
    assert account is not None
    assert account.headroom == 200
    house.payments.record_fact("j", "c1", "ended", "clean")
    house.later(1)
    later = int(house.redis.get("test:clock") or 0)
    house.payments.record_balance("a", read_at=later, available=200, frozen=0, total=200)
    account = house.ledger.account("a")
    assert account is not None
    assert (account.headroom, account.reserved, account.spent) == (200, 0, 100)


def test_a_message_that_was_not_charged_is_taken_back_once(house: House) -> None:
    fence = house.running()
    house.begin("j", fence)
    assert not house.payments.release("j", fence, "c1", "stream_broke"), "may be charged"
    assert house.payments.release("j", fence, "c1", "token_refused")
    assert house.payments.release("j", fence, "c1", "token_refused")
    account = house.ledger.account("a")
    assert account is not None
    assert account.reserved == 0
    assert house.begin("j", fence, call="c2") == "OK"


def test_a_second_turn_opens_only_after_a_question(house: House) -> None:
    fence = house.running()
    house.begin("j", fence)
    house.ledger.commit("j", fence, Commit(State.GENERATING, outcome="question"))
    fence = house.claim("j", nonce="n2")
    assert house.begin("j", fence, call="c2", turn=1) == "ALREADY"
    assert house.begin("j", fence, call="c2", turn=2) == "OK"


def test_a_paid_result_survives_a_lost_lease(house: House) -> None:
    fence = house.running()
    house.begin("j", fence)
    house.later(LEASE + 1)
    house.claim("j", "w2", "n2")
    assert house.payments.record_fact("j", "c1", "ended", "clean")
    assert house.payments.record_fact("j", "c1", "ended", "broken"), (
        "known, and the first word stands"
    )
    assert not house.payments.record_fact("j", "c9", "ended", "clean")
    job = house.ledger.job("j")
    assert job is not None
    assert job.call_fact("ended") == "clean"


def test_in_flight_is_capped_and_a_dead_workers_slot_comes_back(house: House) -> None:
    fence = house.running()
    house.payments.begin("j", fence, turn=1, call="c1", cost=1, cap=1)
    house.submit("k")
    house.admit()
    other = house.claim("k", "w2", "n2")
    house.ledger.update_facts("k", other, {"account": "a"})
    intent = house.payments.begin("k", other, turn=1, call="c2", cost=1, cap=1)
    assert intent.verdict == "NO_SLOT"
    house.later(LEASE - 1)
    house.ledger.heartbeat([("k", other)])
    house.later(3)
    intent = house.payments.begin("k", other, turn=1, call="c2", cost=1, cap=1)
    assert intent.verdict == "OK", "the owner of c1 stopped beating"


def test_a_batch_spends_no_more_than_its_budget(house: House) -> None:
    house.ledger.open_batch("b", "name", 1)
    house.redis.hset("batch:{t}:b", "max_credits", "150")
    house.payments.record_balance("a", read_at=1, available=1000, frozen=0, total=1000)
    verdicts = []
    for name in ("j", "k"):
        house.submit(name, batch_id="b")
        house.admit()
        fence = house.claim(name)
        house.ledger.update_facts(name, fence, {"account": "a"})
        verdicts.append(house.begin(name, fence, call=f"c-{name}"))
    assert verdicts == ["OK", "BUDGET"]


def test_an_account_that_cools_down_pays_nothing(house: House) -> None:
    fence = house.running()
    house.redis.hset("account:{t}:a", "cooling_until", 1_000_030_000)
    intent = house.payments.begin("j", fence, turn=1, call="c1", cost=1, cap=1)
    assert (intent.verdict, intent.wait) == ("COOLING", 30)


# --- cancel, release, retry, outbox


def test_cancel_before_and_after_the_money(house: House) -> None:
    house.submit("q")
    assert house.ledger.cancel("q") == "CANCELLED"
    assert house.ledger.cancel("q") == "ENDED"
    assert house.places("q") == ["end"]
    fence = house.running()
    assert house.ledger.cancel("j") == "REQUESTED"
    assert house.begin("j", fence) == "CANCELLED"
    assert house.ledger.cancel("nobody") == "GONE"


def test_a_held_job_that_has_not_paid_waits_in_its_flow_again(house: House) -> None:
    fence = house.running()
    house.ledger.commit(
        "j", fence, Commit(State.HELD, reason=Reason.CREDITS, resume=State.GENERATING)
    )
    assert house.places("j") == ["held:{t}:a:credits"]
    assert house.ledger.held_ids(Reason.CREDITS) == ["j"]
    assert house.ledger.release("j") == "OK"
    assert house.ledger.release("j") == "NOT_HELD"
    assert house.places("j") == ["flow"]


def test_an_unknown_outcome_needs_a_persons_choice(house: House) -> None:
    fence = house.running()
    house.begin("j", fence)
    house.ledger.commit(
        "j", fence, Commit(State.HELD, reason=Reason.OUTCOME_UNKNOWN, resume=State.SETTLING)
    )
    assert house.ledger.release("j") == "NEEDS_CHOICE"
    assert house.ledger.retry("j") == "NOT_FAILED"
    assert house.ledger.release("j", mode="pay_again", who="ann") == "OK"
    house.admit()
    fence = house.claim("j", nonce="n2")
    assert house.begin("j", fence, call="c1") == "ALREADY", "the archived call stays archived"
    assert house.begin("j", fence, call="c2", turn=2) == "OK"
    job = house.ledger.job("j")
    assert job is not None
    (decision,) = json.loads(job.facts["decisions"])
    assert (decision["choice"], decision["by"]) == ("pay_again", "ann")


def test_taking_the_present_draft_pays_nothing(house: House) -> None:
    fence = house.running()
    house.begin("j", fence)
    house.ledger.commit(
        "j", fence, Commit(State.HELD, reason=Reason.OUTCOME_UNKNOWN, resume=State.SETTLING)
    )
    assert house.ledger.release("j", mode="as_done", who="ann") == "OK"
    assert state(house) is State.SETTLING


def test_retry_of_a_paid_job_goes_on_behind_the_payment(house: House) -> None:
    fence = house.running()
    house.begin("j", fence)
    house.ledger.commit(
        "j",
        fence,
        Commit(State.FAILED, reason=Reason.RENDER_FAILED, facts={"draft": "{}"}),
    )
    assert house.ledger.retry("j") == "OK"
    assert house.ledger.retry("j") == "NOT_FAILED"
    assert state(house) is State.RENDERING


def test_every_end_fills_the_outbox_and_a_newer_end_is_told_too(house: House) -> None:
    fence = house.running()
    house.ledger.commit("j", fence, Commit(State.FAILED, reason=Reason.RENDER_FAILED))
    assert house.redis.zrange("outbox:{t}", 0, -1) == ["job:j"]
    house.ledger.retry("j")
    house.admit()
    fence = house.claim("j", nonce="n2")
    house.ledger.commit("j", fence, Commit(State.FAILED, reason=Reason.RENDER_FAILED))
    house.ledger.acknowledge_notification("job:j", 1)
    assert house.redis.zrange("outbox:{t}", 0, -1) == ["job:j"], "revision 2 is not told yet"
    house.ledger.acknowledge_notification("job:j", 2)
    assert house.redis.zrange("outbox:{t}", 0, -1) == []


def test_the_counters_add_up(house: House) -> None:
    house.ledger.open_batch("b", "name", 1)
    for name in ("p", "q", "r", "s"):
        house.submit(name, batch_id="b")
    house.ledger.cancel("s")
    house.admit(2)
    fence = house.claim("p")
    house.ledger.commit("p", fence, Commit(State.HELD, reason=Reason.PLAN, resume=State.RENDERING))
    batch = house.ledger.batch("b")
    assert batch is not None
    assert (batch.total, batch.open, batch.running) == (4, 2, 1)
    assert batch.held_by == {Reason.PLAN: 1}
    assert house.ledger.counts()[0] == batch.counts


def test_a_call_that_was_taken_back_cannot_be_opened_by_a_late_repetition(house: House) -> None:
    fence = house.running()
    house.begin("j", fence)
    house.payments.release("j", fence, "c1", "not_sent")
    assert house.begin("j", fence) == "LOST"


def test_an_account_that_was_refused_pays_again_only_when_its_balance_has_grown(
    house: House,
) -> None:
    fence = house.running(balance=500)
    house.payments.record_credits_refused("a")
    assert house.begin("j", fence) == "NO_CREDIT"
    house.payments.record_balance("a", read_at=2, available=500, frozen=0, total=500)
    account = house.ledger.account("a")
    assert account is not None
    assert account.affordable_clips(1) == 0
    house.payments.record_balance("a", read_at=3, available=501, frozen=0, total=501)
    assert house.begin("j", fence) == "OK"


def test_the_longer_of_two_rests_counts(house: House) -> None:
    fence = house.running()
    house.payments.record_rate_limited("a", 300)
    house.payments.record_rate_limited("a", 30)
    assert house.payments.begin("j", fence, turn=1, call="c", cost=1, cap=1).wait == 300


def test_a_cancel_during_an_unpaid_step_ends_the_job_with_the_step(house: House) -> None:
    fence = house.running()
    assert house.ledger.cancel("j") == "REQUESTED"
    house.ledger.commit(
        "j", fence, Commit(State.HELD, reason=Reason.CREDITS, resume=State.PREPARING)
    )
    assert state(house) is State.CANCELLED
    assert house.places("j") == ["end"]


def test_a_cancel_of_a_paid_job_lets_it_go_on(house: House) -> None:
    fence = house.running()
    house.begin("j", fence)
    house.ledger.cancel("j")
    house.ledger.commit("j", fence, Commit(State.SETTLING))
    assert state(house) is State.SETTLING


def test_a_poisoned_and_cancelled_job_gives_its_reservation_back(house: House) -> None:
    fence = house.running()
    house.begin("j", fence)
    for n in range(5):
        house.later(2 * LEASE)
        house.ledger.claim("j", f"w{n}", f"m{n}")
    assert state(house) is State.HELD
    house.ledger.cancel("j")
    house.later(1)
    later = int(house.redis.get("test:clock") or 0)
    house.payments.record_balance("a", read_at=later, available=900, frozen=0, total=900)
    account = house.ledger.account("a")
    assert account is not None
    assert account.reserved == 0


def test_paying_again_forgets_what_the_archived_message_made(house: House) -> None:
    fence = house.running()
    house.begin("j", fence)
    facts = {"draft": "{}", "render_id": "r", "render_submitted": "1", "tries": "3"}
    lost = Commit(State.HELD, reason=Reason.SESSION_LOST, resume=State.RENDERING, facts=facts)
    house.ledger.commit("j", fence, lost)
    assert house.ledger.release("j", mode="pay_again", who="ann") == "OK"
    job = house.ledger.job("j")
    assert job is not None
    assert [job.fact(name) for name in facts] == [None] * 4


def test_a_paid_job_that_is_released_never_waits_in_a_flow(house: House) -> None:
    fence = house.running()
    house.begin("j", fence)
    house.ledger.commit(
        "j", fence, Commit(State.HELD, reason=Reason.POISON, resume=State.GENERATING)
    )
    assert house.ledger.release("j") == "OK"
    assert state(house) is State.SETTLING
    assert house.places("j") == ["agenda"]
