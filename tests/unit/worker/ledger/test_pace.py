"""How many messages an account has in flight: slow start, pauses, halving, growth again."""

from tests.unit.worker.ledger.conftest import LEASE, House
from worker.ledger.ledger import Commit
from worker.ledger.model.accounts import FIRST_WINDOW, Account
from worker.ledger.model.states import State

CAP = 50


def account(house: House) -> Account:
    return house.ledger.account("a")


def begin(house: House, name: str) -> str:
    """One more job of the account that asks for its message; the verdict."""
    fence = house.running(name, balance=100_000)
    intent = house.payments.begin(name, fence, turn=1, call=f"{name}:1:{fence}", cost=100, cap=CAP)
    return intent.verdict


def accept(house: House, name: str) -> None:
    """The API took the message of a job in."""
    house.payments.record_fact(name, f"{name}:1:1", "accepted", "1")


def end(house: House, name: str) -> None:
    """The message of a job is over."""
    house.payments.record_fact(name, f"{name}:1:1", "ended", "clean")


def burst(house: House, tag: str) -> int:
    """Begin messages until there is no slot; how many were begun."""
    begun = 0
    while begin(house, f"{tag}{begun}") == "OK":
        begun += 1
    return begun


def test_an_account_begins_small_and_grows_with_what_is_accepted(house: House) -> None:
    assert burst(house, "j") == FIRST_WINDOW
    for n in range(FIRST_WINDOW):
        accept(house, f"j{n}")
    assert account(house).window == FIRST_WINDOW + 1, "only while what is allowed is used"
    assert burst(house, "k") == 1
    accept(house, "k0")
    assert account(house).window == FIRST_WINDOW + 2


def test_the_setting_is_the_most(house: House) -> None:
    house.redis.hset("account:{t}:a", "window", 1000)
    assert burst(house, "j") == CAP


def test_a_first_refusal_rests_the_account_and_one_message_tries_again(house: House) -> None:
    house.running("j")
    house.payments.record_rate_limited("a", 30)
    assert begin(house, "k") == "COOLING"
    house.later(30)
    assert begin(house, "l") == "OK"
    assert begin(house, "m") == "NO_SLOT", "one alone tries"
    assert account(house).window == FIRST_WINDOW, "nothing is halved yet"
    accept(house, "l")
    assert begin(house, "n") == "OK"


def test_refusals_of_one_burst_count_once(house: House) -> None:
    house.running("j")
    for _ in range(40):
        house.payments.record_rate_limited("a", 30)
    assert (account(house).refusals, account(house).window) == (1, FIRST_WINDOW)


def test_a_second_refusal_halves_and_growth_is_slow_from_there(house: House) -> None:
    house.redis.hset("account:{t}:a", "window", 8)
    house.running("j")
    for _ in range(2):
        house.payments.record_rate_limited("a", 30)
        house.later(30)
    assert account(house).window == 4
    for _ in range(5):
        house.payments.record_rate_limited("a", 30)
        house.later(30)
    assert account(house).window == 1, "never to nothing"
    assert begin(house, "k") == "OK"
    accept(house, "k")
    assert account(house).window == 2
    assert begin(house, "l") == "OK"
    accept(house, "l")
    assert account(house).window == 2.5, "one more a round, no more"


def test_a_message_that_tries_and_dies_lets_another_try_after_a_lease(house: House) -> None:
    house.running("j")
    house.payments.record_rate_limited("a", 30)
    house.later(30)
    assert begin(house, "k") == "OK"
    house.later(LEASE)
    assert begin(house, "l") == "NO_SLOT"
    house.later(2)
    assert begin(house, "m") == "OK"


def test_a_refusal_long_after_the_last_one_is_a_first_one(house: House) -> None:
    house.running("j")
    house.payments.record_rate_limited("a", 30)
    house.later(1000)
    house.payments.record_rate_limited("a", 30)
    assert (account(house).refusals, account(house).window) == (1, FIRST_WINDOW)


def test_a_dead_worker_holds_a_slot_no_longer_than_a_lease(house: House) -> None:
    assert burst(house, "j") == FIRST_WINDOW
    house.later(LEASE + 2)
    assert begin(house, "k") == "OK"


def test_a_slot_that_ends_twice_is_given_back_once(house: House) -> None:
    assert burst(house, "j") == FIRST_WINDOW
    end(house, "j0")
    house.ledger.commit("j0", 1, Commit(State.RENDERING, outcome="done"))
    assert house.redis.zcard("slots:{t}:a") == FIRST_WINDOW - 1
