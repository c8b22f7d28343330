"""Requests of people: cancel, release, retry; and the outbox."""

import json

from tests.unit.worker.ledger.conftest import LEASE, LedgerHarness, job_state
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.model.verdicts import ReleaseVerdict


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


def test_a_decision_that_arrives_late_does_not_apply_to_the_next_hold(
    harness: LedgerHarness,
) -> None:
    """The client repeats a request whose connection stalls, and the first copy may still arrive."""
    held = Commit(State.HELD, reason=Reason.OUTCOME_UNKNOWN, resume=State.SETTLING)
    fence = harness.running()
    harness.begin("j", fence)
    harness.ledger.commit("j", fence, held)
    job = harness.ledger.job("j")
    assert job is not None

    def decide() -> ReleaseVerdict:
        (verdict,) = harness.ledger.release_many(
            ["j"], mode="pay_again", who="me", revisions={"j": job.revision}
        )
        return verdict

    assert decide() == "OK"
    harness.admit()
    fence = harness.claim("j", nonce="n2")
    assert harness.begin("j", fence, call="c2", turn=2) == "OK"
    harness.ledger.commit("j", fence, held)
    assert decide() == "NOT_HELD"
    again = harness.ledger.job("j")
    assert again is not None
    assert (again.state, again.turn) == (State.HELD, 2)


def test_accepting_the_current_draft_pays_nothing(harness: LedgerHarness) -> None:
    fence = harness.running()
    harness.begin("j", fence)
    harness.ledger.commit(
        "j", fence, Commit(State.HELD, reason=Reason.OUTCOME_UNKNOWN, resume=State.SETTLING)
    )
    assert harness.ledger.release("j", mode="as_done", who="ann") == "OK"
    assert job_state(harness) is State.SETTLING


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
    assert job_state(harness) is State.SETTLING
    fence = harness.claim("j", nonce="n3")
    no_draft = Commit(
        State.HELD,
        reason=Reason.OUTCOME_UNKNOWN,
        resume=State.SETTLING,
        facts={"as_done": ""},
    )
    assert harness.ledger.commit("j", fence, no_draft)
    assert job_state(harness) is State.HELD
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
    assert job_state(harness) is State.RENDERING


def test_each_end_adds_an_outbox_entry_and_a_newer_end_keeps_it(harness: LedgerHarness) -> None:
    fence = harness.running()
    harness.ledger.commit("j", fence, Commit(State.FAILED, reason=Reason.RENDER_FAILED))
    assert harness.redis.zrange("outbox:{t}", 0, -1) == ["job:j"]
    harness.ledger.retry("j")
    harness.admit()
    fence = harness.claim("j", nonce="n2")
    harness.ledger.commit("j", fence, Commit(State.FAILED, reason=Reason.RENDER_FAILED))
    for older in (1, 2):  # of the first end and of the retry
        harness.ledger.acknowledge_notifications([("job:j", older)])
        assert harness.redis.zrange("outbox:{t}", 0, -1) == ["job:j"], "revision 3 is pending"
    harness.ledger.acknowledge_notifications([("job:j", 3)])
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
    harness.payments.withdraw("j", "c1", "not_sent")
    assert harness.begin("j", fence) == "LOST"


def test_an_account_without_credits_pays_again_only_when_its_balance_has_grown(
    harness: LedgerHarness,
) -> None:
    fence = harness.running(balance=500)
    harness.payments.record_credits_refused("a", at=2)
    assert harness.begin("j", fence) == "NO_CREDIT"
    harness.payments.record_balance("a", read_at=2, available=500, frozen=0, total=500)
    account = harness.ledger.account("a")
    assert account is not None
    assert account.affordable_clips(1) == 0
    harness.payments.record_balance("a", read_at=3, available=501, frozen=0, total=501)
    assert harness.begin("j", fence) == "OK"


def test_a_refusal_for_credits_that_is_recorded_late_does_not_stop_an_account_with_new_ones(
    harness: LedgerHarness,
) -> None:
    """Its worker was frozen, or the journal did not answer, while credits were added."""
    fence = harness.running(balance=50)
    harness.payments.record_balance("a", read_at=20, available=1050, frozen=0, total=1050)
    harness.payments.record_credits_refused("a", at=10)
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
    assert job_state(harness) is State.CANCELLED
    assert harness.places("j") == ["end"]


def test_a_cancelled_paid_job_continues(harness: LedgerHarness) -> None:
    fence = harness.running()
    harness.begin("j", fence)
    assert harness.ledger.cancel("j") == "CONTINUES"
    harness.ledger.commit("j", fence, Commit(State.SETTLING))
    assert job_state(harness) is State.SETTLING


def test_the_reservation_of_a_job_cancelled_after_poison_is_released(
    harness: LedgerHarness,
) -> None:
    fence = harness.running()
    harness.begin("j", fence)
    for n in range(5):
        harness.later(2 * LEASE)
        harness.ledger.claim("j", f"w{n}", f"m{n}")
    assert job_state(harness) is State.HELD
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
    assert job_state(harness) is State.SETTLING
    assert harness.places("j") == ["agenda"]
