"""An account's window of messages in flight: slow start, pauses, halving and growth."""

from tests.unit.worker.ledger.conftest import LEASE, LedgerHarness
from worker.ledger.model.accounts import FIRST_WINDOW, Account
from worker.ledger.model.states import State
from worker.ledger.model.steps import Commit

CAP = 50


def account(harness: LedgerHarness) -> Account:
    return harness.ledger.account("a")


def begin(harness: LedgerHarness, name: str) -> str:
    """Begin the message of one more job of the account, and return the verdict."""
    fence = harness.running(name, balance=100_000)
    intent = harness.payments.begin(name, fence, turn=1, call=f"{name}:1:1", cost=100, cap=CAP)
    return intent.verdict


def accept(harness: LedgerHarness, name: str) -> None:
    """Record that the API accepted a job's message."""
    harness.payments.record_facts(name, f"{name}:1:1", {"accepted": "1"})


def end(harness: LedgerHarness, name: str) -> None:
    """Record that a job's message is over."""
    harness.payments.record_facts(name, f"{name}:1:1", {"ended": "clean"})


def burst(harness: LedgerHarness, tag: str) -> int:
    """Begin messages until there is no slot, and return how many began."""
    begun = 0
    while begin(harness, f"{tag}{begun}") == "OK":
        begun += 1
    return begun


def test_the_window_starts_small_and_grows_with_accepted_messages(harness: LedgerHarness) -> None:
    assert burst(harness, "j") == FIRST_WINDOW
    for n in range(FIRST_WINDOW):
        accept(harness, f"j{n}")
    assert account(harness).window == 2 * FIRST_WINDOW, "twice those in flight"
    assert burst(harness, "k") == FIRST_WINDOW
    for n in range(FIRST_WINDOW):
        end(harness, f"j{n}")
    accept(harness, "k0")
    assert account(harness).window == 2 * FIRST_WINDOW, "only while half of it is used"


def test_the_window_doubles_while_the_streams_of_its_messages_last(harness: LedgerHarness) -> None:
    rounds = []
    for tag in "abcd":
        begun = burst(harness, tag)
        for n in range(begun):
            accept(harness, f"{tag}{n}")
        rounds.append(begun)
    assert rounds == [5, 5, 10, 20], "in flight are 5, 10, 20 and 40, as none of them ends"


def test_the_window_does_not_exceed_the_setting(harness: LedgerHarness) -> None:
    harness.redis.hset("account:{t}:a", "window", 1000)
    assert burst(harness, "j") == CAP


def test_a_first_429_pauses_the_account_and_then_one_message_is_tried(
    harness: LedgerHarness,
) -> None:
    harness.running("j")
    harness.payments.record_rate_limited("a", 30)
    assert begin(harness, "k") == "COOLING"
    harness.later(30)
    assert begin(harness, "l") == "OK"
    assert begin(harness, "m") == "NO_SLOT", "one alone tries"
    assert account(harness).window == FIRST_WINDOW, "nothing is halved yet"
    accept(harness, "l")
    assert begin(harness, "n") == "OK"


def test_429s_during_one_pause_count_once(harness: LedgerHarness) -> None:
    harness.running("j")
    for _ in range(40):
        harness.payments.record_rate_limited("a", 30)
    assert (account(harness).refusals, account(harness).window) == (1, FIRST_WINDOW)


def test_a_second_429_halves_the_window_and_growth_is_slow_from_there(
    harness: LedgerHarness,
) -> None:
    harness.redis.hset("account:{t}:a", "window", 8)
    harness.running("j")
    for _ in range(2):
        harness.payments.record_rate_limited("a", 30)
        harness.later(30)
    assert account(harness).window == 4
    for _ in range(5):
        harness.payments.record_rate_limited("a", 30)
        harness.later(30)
    assert account(harness).window == 1, "never to nothing"
    assert begin(harness, "k") == "OK"
    accept(harness, "k")
    assert account(harness).window == 2
    assert begin(harness, "l") == "OK"
    accept(harness, "l")
    assert account(harness).window == 2.5, "one more a round, no more"


def test_another_message_is_tried_a_lease_after_the_one_whose_worker_died(
    harness: LedgerHarness,
) -> None:
    harness.running("j")
    harness.payments.record_rate_limited("a", 30)
    harness.later(30)
    assert begin(harness, "k") == "OK"
    harness.later(LEASE)
    assert begin(harness, "l") == "NO_SLOT"
    harness.later(2)
    assert begin(harness, "m") == "OK"


def test_a_429_long_after_the_last_one_counts_as_the_first(harness: LedgerHarness) -> None:
    harness.running("j")
    harness.payments.record_rate_limited("a", 30)
    harness.later(1000)
    harness.payments.record_rate_limited("a", 30)
    assert (account(harness).refusals, account(harness).window) == (1, FIRST_WINDOW)


def test_a_dead_worker_holds_a_slot_no_longer_than_a_lease(harness: LedgerHarness) -> None:
    assert burst(harness, "j") == FIRST_WINDOW
    harness.later(LEASE + 2)
    assert begin(harness, "k") == "OK"


def test_a_message_that_ends_twice_frees_one_slot(harness: LedgerHarness) -> None:
    assert burst(harness, "j") == FIRST_WINDOW
    end(harness, "j0")
    harness.ledger.commit("j0", "1:n1", Commit(State.RENDERING, outcome="done"))
    assert harness.redis.zcard("slots:{t}:a") == FIRST_WINDOW - 1
