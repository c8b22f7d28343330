"""What clips cost: told by the balance, kept in the record, and expected of the next."""

from tests.unit.worker.ledger.conftest import House
from worker.ledger.ledger import Commit
from worker.ledger.model.accounts import Account
from worker.ledger.model.jobs import Turn
from worker.ledger.model.states import State


class Bank:
    """The API's side of one account."""

    def __init__(self, house: House, total: float) -> None:
        self.house, self.total = house, total
        self.read()

    def read(self) -> Account:
        """A reading of the balance, as it stands now."""
        self.house.later(1)
        now = int(self.house.redis.get("test:clock") or 0)
        self.house.payments.record_balance(
            "a", read_at=now, available=self.total, frozen=0, total=self.total
        )
        return self.house.ledger.account("a")

    def send(self, job_id: str, batch_id: str = "") -> str:
        """A job that sends its message; the verdict."""
        house = self.house
        house.submit(job_id, batch_id=batch_id)
        house.admit()
        fence = house.claim(job_id)
        house.ledger.update_facts(job_id, fence, {"account": "a"})
        return house.payments.begin(
            job_id, fence, turn=1, call=f"{job_id}:1:{fence}", cost=100, cap=50
        ).verdict

    def end(self, job_id: str, price: float) -> None:
        """The message of a job ends, and is charged."""
        self.total -= price
        self.house.payments.record_fact(job_id, f"{job_id}:1:1", "ended", "clean")
        self.house.later(1)


def turn(house: House, job_id: str) -> Turn:
    job = house.ledger.job(job_id)
    assert job is not None
    return job.turns[0]


def test_a_job_that_ran_alone_is_told_what_it_cost(house: House) -> None:
    house.ledger.open_batch("b", "spring", 1)
    bank = Bank(house, 1000)
    assert bank.send("j", "b") == "OK"
    bank.read()
    assert (turn(house, "j").cost, turn(house, "j").charged) == (100, False)
    bank.end("j", 130)
    account = bank.read()
    assert (turn(house, "j").cost, turn(house, "j").charged) == (130, True)
    assert (account.estimate, account.spent, account.reserved) == (130, 130, 0)
    batch = house.ledger.batch("b")
    assert batch is not None
    assert batch.committed == 130


def test_a_cost_that_is_told_after_the_end_is_told_to_the_world_again(house: House) -> None:
    bank = Bank(house, 1000)
    bank.send("j")
    bank.end("j", 70)
    house.ledger.commit("j", 1, Commit(State.SUCCEEDED))
    house.ledger.acknowledge_notification("job:j", 1)
    assert house.ledger.pending_notifications(9) == []
    bank.read()
    assert turn(house, "j").cost == 70
    assert house.ledger.pending_notifications(9) == ["job:j"]


def test_jobs_that_ran_together_are_told_the_estimate(house: House) -> None:
    bank = Bank(house, 1000)
    bank.send("j")
    bank.send("k")
    bank.end("j", 150)
    bank.read()
    bank.end("k", 90)
    account = bank.read()
    assert not turn(house, "j").charged
    assert not turn(house, "k").charged
    assert account.estimate == 120, "but both together tell what the next will cost"


def test_a_dearer_clip_raises_what_is_reserved_for_the_rest(house: House) -> None:
    bank = Bank(house, 1000)
    bank.send("j")
    bank.end("j", 400)
    bank.read()
    assert bank.send("k") == "OK"
    assert house.ledger.account("a").reserved == 400
    assert bank.send("l") == "NO_CREDIT"


def test_a_cheaper_clip_lowers_the_estimate_but_not_below_the_setting(house: House) -> None:
    bank = Bank(house, 1000)
    bank.send("j")
    bank.end("j", 200)
    assert bank.read().estimate == 200
    bank.send("k")
    bank.end("k", 40)
    account = bank.read()
    assert (account.estimate, account.price(100)) == (40, 100)


def test_while_messages_run_the_estimate_only_rises(house: House) -> None:
    bank = Bank(house, 10_000)
    for name in "jklm":
        bank.send(name)
    bank.end("j", 100)
    assert bank.read().estimate == 25, "a lower bound: each of the four may have been charged"
    bank.end("k", 900)
    assert bank.read().estimate == 250
    bank.end("l", 0)
    assert bank.read().estimate == 250


def test_credits_that_are_added_hide_a_charge(house: House) -> None:
    bank = Bank(house, 1000)
    bank.send("j")
    bank.total += 500
    bank.end("j", 130)
    account = bank.read()
    assert not turn(house, "j").charged
    assert (account.estimate, account.base, account.reserved) == (0, 1370, 0)
    bank.send("k")
    bank.end("k", 110)
    bank.read()
    assert turn(house, "k").charged, "the next one is told exactly again"


def test_a_reading_that_comes_late_changes_nothing(house: House) -> None:
    bank = Bank(house, 1000)
    house.payments.record_balance("a", read_at=1, available=5, frozen=0, total=5)
    assert house.ledger.account("a").total == bank.total


def test_the_balance_before_a_message_is_kept(house: House) -> None:
    bank = Bank(house, 1000)
    bank.send("j")
    assert turn(house, "j").balance_before == 1000
