"""The intent to pay: one a turn, within balance, budget and limits."""

from tests.unit.worker.ledger.conftest import LEASE, LedgerHarness
from worker.ledger.model.states import State
from worker.ledger.model.steps import Commit


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
    harness.payments.record_facts("j", "c1", {"ended": "clean"})
    harness.later(1)
    later = int(harness.redis.get("test:clock") or 0)
    harness.payments.record_balance("a", read_at=later, available=200, frozen=0, total=200)
    account = harness.ledger.account("a")
    assert account is not None
    assert (account.headroom, account.reserved, account.spent) == (200, 0, 100)


def test_the_intent_of_an_uncharged_message_is_withdrawn_once(harness: LedgerHarness) -> None:
    fence = harness.running()
    harness.begin("j", fence)
    assert not harness.payments.withdraw("j", "c1", "stream_broke"), "may be charged"
    assert harness.payments.withdraw("j", "c1", "token_refused")
    assert harness.payments.withdraw("j", "c1", "token_refused")
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
    assert harness.payments.record_facts("j", "c1", {"ended": "clean"})
    assert harness.payments.record_facts("j", "c1", {"ended": "broken"}), (
        "known, and the first value stays"
    )
    assert not harness.payments.record_facts("j", "c9", {"ended": "clean"})
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
