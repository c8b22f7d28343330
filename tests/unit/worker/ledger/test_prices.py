"""The cost of clips: measured by the balance, stored in the record, and used as the estimate."""

from tests.support.ledger_access import due_notifications
from tests.unit.worker.ledger.conftest import LedgerHarness, paid_attempt
from worker.ledger.model.accounts import Account
from worker.ledger.model.jobs import Turn
from worker.ledger.model.states import State
from worker.ledger.model.steps import Commit


class Bank:
    """One account as the API keeps it."""

    def __init__(self, harness: LedgerHarness, total: float) -> None:
        self.harness, self.total = harness, total
        self.read()

    def read(self) -> Account:
        """Record the current balance."""
        self.harness.later(1)
        now = int(self.harness.redis.get("test:clock") or 0)
        self.harness.payments.record_balance(
            "a", read_at=now, available=self.total, frozen=0, total=self.total
        )
        return self.harness.ledger.account("a")

    def send(self, job_id: str, batch_id: str = "") -> str:
        """Begin the message of a new job, and return the verdict."""
        harness = self.harness
        harness.submit(job_id, batch_id=batch_id)
        harness.admit()
        fence = harness.claim(job_id)
        harness.ledger.update_facts(job_id, fence, {"account": "a"})
        return harness.payments.begin(
            job_id, fence, turn=1, call=f"{job_id}:1:1", cost=100, cap=50
        ).verdict

    def end(self, job_id: str, price: float) -> None:
        """End the message of a job and charge it."""
        self.total -= price
        self.harness.payments.record_facts(job_id, f"{job_id}:1:1", {"ended": "clean"})
        self.harness.later(1)


def turn(harness: LedgerHarness, job_id: str) -> Turn:
    job = harness.ledger.job(job_id)
    assert job is not None
    return job.turns[0]


def test_the_record_of_a_job_that_ran_alone_has_its_exact_cost(harness: LedgerHarness) -> None:
    harness.ledger.open_batch("b", "spring", 1)
    bank = Bank(harness, 1000)
    assert bank.send("j", "b") == "OK"
    bank.read()
    assert (turn(harness, "j").cost, turn(harness, "j").charged) == (100, False)
    bank.end("j", 130)
    account = bank.read()
    assert (turn(harness, "j").cost, turn(harness, "j").charged) == (130, True)
    assert (account.estimate, account.spent, account.reserved) == (130, 130, 0)
    batch = harness.ledger.batch("b")
    assert batch is not None
    assert batch.committed == 130


def test_a_cost_measured_after_the_end_is_notified_again(harness: LedgerHarness) -> None:
    bank = Bank(harness, 1000)
    bank.send("j")
    bank.end("j", 70)
    harness.ledger.commit("j", "1:n1", Commit(State.SUCCEEDED))
    harness.ledger.acknowledge_notifications([("job:j", 1)])
    assert due_notifications(harness.ledger) == []
    bank.read()
    assert turn(harness, "j").cost == 70
    assert due_notifications(harness.ledger) == ["job:j"]


def test_the_records_of_jobs_that_ran_together_have_the_estimate(harness: LedgerHarness) -> None:
    bank = Bank(harness, 1000)
    bank.send("j")
    bank.send("k")
    bank.end("j", 150)
    bank.read()
    bank.end("k", 90)
    account = bank.read()
    assert not turn(harness, "j").charged
    assert not turn(harness, "k").charged
    assert account.estimate == 120, "but both together tell what the next will cost"


def test_a_more_expensive_clip_raises_later_reservations(harness: LedgerHarness) -> None:
    bank = Bank(harness, 1000)
    bank.send("j")
    bank.end("j", 400)
    bank.read()
    assert bank.send("k") == "OK"
    assert harness.ledger.account("a").reserved == 400
    assert bank.send("l") == "NO_CREDIT"


def test_a_cheaper_clip_lowers_the_estimate_but_not_below_the_setting(
    harness: LedgerHarness,
) -> None:
    bank = Bank(harness, 1000)
    bank.send("j")
    bank.end("j", 200)
    assert bank.read().estimate == 200
    bank.send("k")
    bank.end("k", 40)
    account = bank.read()
    assert (account.estimate, account.price(100)) == (40, 100)


def test_the_estimate_only_rises_while_messages_are_running(harness: LedgerHarness) -> None:
    bank = Bank(harness, 10_000)
    for name in "jklm":
        bank.send(name)
    bank.end("j", 100)
    assert bank.read().estimate == 25, "a lower bound: each of the four may have been charged"
    bank.end("k", 900)
    assert bank.read().estimate == 250
    bank.end("l", 0)
    assert bank.read().estimate == 250


def test_added_credits_hide_a_charge(harness: LedgerHarness) -> None:
    bank = Bank(harness, 1000)
    bank.send("j")
    bank.total += 500
    bank.end("j", 130)
    account = bank.read()
    assert not turn(harness, "j").charged
    assert (account.estimate, account.base, account.reserved) == (0, 1370, 0)
    bank.send("k")
    bank.end("k", 110)
    bank.read()
    assert turn(harness, "k").charged, "the next cost is exact again"


def test_an_older_reading_changes_nothing(harness: LedgerHarness) -> None:
    bank = Bank(harness, 1000)
    harness.payments.record_balance("a", read_at=1, available=5, frozen=0, total=5)
    assert harness.ledger.account("a").total == bank.total


def test_the_balance_before_a_message_is_stored(harness: LedgerHarness) -> None:
    bank = Bank(harness, 1000)
    bank.send("j")
    assert turn(harness, "j").balance_before == 1000


def test_the_cost_of_an_adopted_message_does_not_raise_the_estimate(
    harness: LedgerHarness,
) -> None:
    """The job was lost with its reservation, so that its charge would count for another message."""
    bank = Bank(harness, 1000)
    bank.send("k")
    harness.submit("j")
    harness.admit()
    assert harness.payments.adopt("j", paid_attempt()) == "OK"
    adopted = paid_attempt().call
    bank.total -= 100
    harness.payments.record_facts("j", adopted, {"ended": "clean"})
    harness.later(1)
    bank.end("k", 100)
    account = bank.read()
    assert (account.estimate, account.spent, account.reserved) == (100, 200, 0)
    assert not turn(harness, "j").charged


def test_an_adopted_message_makes_no_cost_exact(harness: LedgerHarness) -> None:
    """It may have been charged before the balance was first read."""
    bank = Bank(harness, 1000)
    harness.submit("j")
    harness.admit()
    assert harness.payments.adopt("j", paid_attempt()) == "OK"
    assert harness.ledger.account("a").reserved == 100
    harness.payments.record_facts("j", paid_attempt().call, {"ended": "clean"})
    harness.later(1)
    bank.total -= 10
    account = bank.read()
    assert (turn(harness, "j").cost, turn(harness, "j").charged) == (100, False)
    assert (account.spent, account.reserved) == (100, 0)


def test_a_job_that_the_journal_ends_keeps_no_reservation(harness: LedgerHarness) -> None:
    bank = Bank(harness, 1000)
    harness.submit("j")
    harness.admit()
    assert harness.payments.adopt("j", paid_attempt()) == "OK"
    call = paid_attempt().call
    assert harness.payments.restore_end("j", call, State.SUCCEEDED, "", {}) == "OK"
    account = harness.ledger.account("a")
    assert (account.spent, account.reserved) == (100, 0)
    assert bank.read().estimate == 0
