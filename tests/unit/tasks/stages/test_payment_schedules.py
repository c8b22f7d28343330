"""Two workers, one ledger and one journal, step by step in the orders that could pay twice.

Each schedule is one that pays twice, or goes wrong, as soon as one of the journal's rules is left
out. An actor is a worker's step between its reads and writes; `sent` is what reached the API.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest
from redis import Redis

from config.settings import Settings
from tasks.producer import actions
from tasks.producer.producer import Producer
from tasks.stages import sending_right
from tasks.stages.adoption import adopt_later_payment, adopt_payment, attempt_number
from tasks.stages.sending_right import SendingRight
from tasks.step.context import StepClock, StepContext
from tests.support.ledger_copies import copy_ledger, put_back
from tests.support.waiting import wait_until
from worker.journal.attempts import AdoptAttempt, last_payment
from worker.journal.entries import Mark
from worker.journal.journal import Attempt
from worker.ledger.model.jobs import Job, read_job
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.model.submissions import NewJob
from worker.reconciliation import MaybeCharged, Review, Withdrawn, new_entry, review
from worker.recovery.job_restorer import JobRestorer
from worker.runtime.leases import Lease
from worker.runtime.runtime import Runtime

JOB = NewJob(id="j", payload={"image": "cat.jpg", "prompt": "pan"}, fingerprint="f", key="k")


@dataclass
class World:
    """The servers that the actors share."""

    redis: Redis
    settings: Settings
    sent: list[tuple[int, str]] = field(default_factory=list)
    """Turn and call of each message that reached the API."""
    saved: Mapping[bytes, bytes] = field(default_factory=dict)

    def runtime(self) -> Runtime:
        return Runtime.open(self.settings)

    @property
    def producer(self) -> Producer:
        return Producer.open(self.settings)

    def submit(self) -> None:
        """Submit the job; on a flushed ledger, its account's balance is read again."""
        runtime = self.runtime()
        runtime.payments.record_balance(
            "a", read_at=runtime.ledger.now_ms(), available=1000, frozen=0, total=1000
        )
        runtime.ledger.submit(JOB)

    def save(self) -> None:
        """Copy the ledger, as a backup does."""
        self.saved = copy_ledger(self.redis)

    def restore(self) -> None:
        """Put the copy in the ledger's place."""
        put_back(self.redis, self.saved)

    def expire_lease(self) -> None:
        """Let the lease of the owner expire."""
        self.redis.hset("job:{rq}:j", mapping={"lease": 1, "not_before": 0})

    def job(self) -> Job:
        job = self.runtime().ledger.job("j")
        assert job is not None
        return job

    def attempts(self) -> list[Attempt]:
        return self.runtime().journal.attempts("j")

    def payment(self) -> AdoptAttempt:
        """The last attempt that may be charged."""
        found = last_payment(self.attempts())
        assert found is not None
        return found


class Actor:
    """One worker's step on the job."""

    def __init__(self, world: World) -> None:
        """Claim the job, as soon as it is due."""
        self.world, self.runtime = world, world.runtime()
        ledger = self.runtime.ledger
        ledger.due(10, room=10, admit=10)
        claim = wait_until(
            lambda: (found := ledger.claim("j", uuid4().hex, uuid4().hex)).record and found,
            "the claim",
        )
        assert claim, "claimed"
        lease = Lease("j", claim.fence, float("inf"), float("inf"))
        self.step = StepContext(self.runtime, read_job(claim.record), lease, StepClock(claim.now))

    def prepare(self) -> Commit | int:
        """Read the journal, and open a session if nothing was paid."""
        answer = attempt_number(self.step)
        if isinstance(answer, int):
            session = {"session_id": uuid4().hex, "task_id": "t", "uploaded": "1"}
            self.step.update_facts(account="a", baseline="before", **session)
            self.number = answer
        return answer

    def begin(self) -> str:
        """Write the intent to pay, and return the verdict."""
        job = self.step.job
        self.call = f"j:{job.turn}:{job.fence}:{uuid4().hex[:8]}"
        verdict = self.runtime.payments.begin(
            "j",
            self.step.lease.fence,
            turn=job.turn,
            call=self.call,
            cost=100,
            cap=9,
            session_id=job.facts["session_id"],
            attempt=self.number,
        ).verdict
        entry = new_entry(job, call=self.call, attempt=self.number, price=100)
        self.right = SendingRight(self.step, entry)
        return verdict

    def create(self) -> bool:
        return self.right.create()

    def send(self, *, refused: bool = False) -> bool:
        """Send the message if that is allowed; a refusal of the API is marked by its sender."""
        if not self.right.may_send():
            self.right.withdraw("not_sent")
            return False
        if refused:
            self.right.withdraw("rate_limited")
            return False
        self.world.sent.append((self.step.job.turn, self.call))
        return True

    def pay(self) -> None:
        """Run all steps of a payment that succeeds."""
        assert isinstance(self.prepare(), int)
        assert self.begin() == "OK"
        assert self.create()
        assert self.send()

    def review(self) -> Review:
        """Look up the message in the journal, as a settling step does."""
        return review(self.runtime.journal, self.runtime.payments, self.step.job)

    def commit(self, end: Commit) -> None:
        assert self.runtime.ledger.commit("j", self.step.lease.fence, end)

    def hold(self) -> None:
        """Hold the job, because it is unknown whether the message was charged."""
        held = Commit(State.HELD, reason=Reason.OUTCOME_UNKNOWN, resume=State.SETTLING)
        self.commit(held)


@pytest.fixture
def world(redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(sending_right, "RETRY_SECONDS", 0.0)
    world = World(redis, settings)
    world.submit()
    return world


def asked(world: World) -> Actor:
    """An actor whose message was paid, and answered by a question."""
    first = Actor(world)
    first.pay()
    first.commit(Commit(State.GENERATING, outcome="question"))
    return first


def paid_again(world: World) -> tuple[Actor, Actor]:
    """Two actors that paid, the second by a decision that Redis has lost; the job is held."""
    first = Actor(world)
    first.pay()
    first.hold()
    world.save()
    assert actions.release(world.producer, "j", mode="pay_again", who="me").changed == 1
    second = Actor(world)
    second.pay()
    world.restore()
    return first, second


def make_late(actor: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the limit of a sender pass, as a frozen process does."""
    monkeypatch.setattr(actor.right, "_since", actor.right._since - 60)


def test_a_restored_ledger_does_not_send_on_its_own_old_entry(world: World) -> None:
    """Without the random part of the call, the entry from before the restore would be its own."""
    first = Actor(world)
    first.prepare()
    world.save()
    assert first.begin() == "OK"
    assert first.create()
    assert first.send()
    world.restore()
    world.expire_lease()
    second = Actor(world)
    assert second.prepare() == 1, "the record says that attempt 1 is free"
    assert second.begin() == "OK"
    assert not second.create()
    commit = adopt_payment(second.step, world.payment(), replaces=second.call)
    assert commit.state is State.SETTLING
    assert (world.job().call, len(world.sent)) == (first.call, 1)
    assert world.job().message_session == first.step.job.facts["session_id"]


def test_a_flush_between_intent_and_entry_lets_one_of_two_send(world: World) -> None:
    """The second worker has read the journal before the first one created its entry."""
    first = Actor(world)
    first.prepare()
    assert first.begin() == "OK"
    world.redis.flushdb()
    world.submit()
    second = Actor(world)
    assert second.prepare() == 1
    assert first.create()
    assert first.send()
    assert second.begin() == "OK"
    assert not second.create()
    commit = adopt_payment(second.step, world.payment(), replaces=second.call)
    assert (commit.state, world.job().call) == (State.SETTLING, first.call)
    assert len(world.sent) == 1


def test_two_owners_of_one_turn_after_a_restore_send_once(world: World) -> None:
    """Without the rule that only the creator of an entry sends, both owners would send."""
    first = Actor(world)
    first.prepare()
    world.save()
    assert first.begin() == "OK"
    world.restore()
    world.expire_lease()
    second = Actor(world)
    second.prepare()
    assert second.begin() == "OK"
    assert second.create()
    assert not first.create()
    assert second.send()
    assert len(world.sent) == 1


def test_a_sender_that_was_frozen_marks_its_attempt_and_the_next_one_is_free(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the time limit, the late message would be sent after a decision to pay again."""
    late = Actor(world)
    late.prepare()
    late.begin()
    assert late.create()
    world.expire_lease()
    settler = Actor(world)
    assert settler.review() == MaybeCharged(), "its entry says that it may have been charged"
    settler.hold()
    assert actions.release(world.producer, "j", mode="pay_again", who="me").changed == 1
    Actor(world).pay()
    make_late(late, monkeypatch)
    assert not late.send()
    assert [turn for turn, _ in world.sent] == [2]
    turns = [(turn.number, turn.call) for turn in world.job().turns]
    assert turns == [(2, world.sent[0][1])], "the record agrees with the journal"
    assert world.job().number("paid") == 1


def test_a_mark_that_comes_late_releases_a_held_job(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = Actor(world)
    late.prepare()
    late.begin()
    assert late.create()
    world.expire_lease()
    Actor(world).hold()
    make_late(late, monkeypatch)
    assert not late.send()
    assert world.job().state is State.QUEUED
    again = Actor(world)
    again.pay()
    assert (again.number, len(world.sent)) == (2, 1)


def test_an_attempt_without_an_entry_is_closed_and_cannot_be_created(world: World) -> None:
    """If the attempt were not closed, its entry could be created after the next attempt."""
    late = Actor(world)
    late.prepare()
    late.begin()
    world.expire_lease()
    settler = Actor(world)
    assert isinstance(settler.review(), Withdrawn)
    settler.commit(Commit(State.PREPARING))
    again = Actor(world)
    again.pay()
    assert not late.create()
    assert ([again.call], again.number) == ([call for _, call in world.sent], 2)
    assert world.attempts()[0].mark is Mark.NEVER_SENT


@pytest.mark.parametrize("decision", ["pay_again", "cancel"])
def test_a_decision_closes_a_message_that_has_no_entry_yet(world: World, decision: str) -> None:
    late = Actor(world)
    late.prepare()
    late.begin()
    world.expire_lease()
    Actor(world).hold()
    if decision == "cancel":
        assert actions.cancel(world.producer, "j", confirmed=True).changed == 1
        assert world.job().state is State.CANCELLED
    else:
        assert actions.release(world.producer, "j", mode="pay_again", who="me").changed == 1
        assert (world.job().state, world.job().turn) == (State.QUEUED, 1), "no decision is needed"
    assert not late.create()
    assert world.sent == []


def test_a_job_on_a_flushed_ledger_reads_the_journal_before_it_prepares(world: World) -> None:
    """Otherwise a second attempt would be made for a turn that is paid."""
    first = Actor(world)
    first.pay()
    world.redis.flushdb()
    world.submit()
    second = Actor(world)
    answer = second.prepare()
    assert isinstance(answer, Commit)
    assert answer.state is State.SETTLING
    assert world.job().call == first.call
    assert len(world.sent) == 1


def test_after_a_refusal_and_a_flush_the_next_attempt_is_made(world: World) -> None:
    first = Actor(world)
    first.prepare()
    first.begin()
    first.create()
    assert not first.send(refused=True)
    assert world.job().call is None
    world.redis.flushdb()
    world.submit()
    second = Actor(world)
    second.pay()
    assert (second.number, len(world.sent)) == (2, 1)


def test_a_decision_about_an_attempt_that_is_not_the_last_is_refused(world: World) -> None:
    """The restored ledger is older than the last attempt, which is adopted instead."""
    _, second = paid_again(world)
    assert actions.release(world.producer, "j", mode="pay_again", who="me").changed == 1
    assert (world.job().state, world.job().call) == (State.SETTLING, second.call)
    assert len(world.sent) == 2, "one before the decision, one after it"


def test_an_answer_to_a_question_is_the_next_attempt(world: World) -> None:
    first = asked(world)
    second = Actor(world)
    assert second.prepare() == 2
    assert second.begin() == "OK"
    assert second.create()
    assert second.send()
    world.redis.flushdb()
    world.submit()
    third = Actor(world)
    assert isinstance(third.prepare(), Commit)
    job = world.job()
    assert [(turn.number, turn.call) for turn in job.turns] == [(1, first.call), (2, second.call)]
    account = world.redis.hmget("account:{rq}:a", "spent", "reserved")
    assert account == ["100", "100"], "the last message may still be running"


def test_a_restored_record_adopts_the_answer_after_its_question(world: World) -> None:
    """The draft in the session is that of the answer, so the record must have its payment."""
    first = Actor(world)
    first.pay()
    first.step.update_facts(account="a")
    world.save()
    first.commit(Commit(State.GENERATING, outcome="question"))
    second = Actor(world)
    second.pay()
    world.restore()
    world.expire_lease()
    third = Actor(world)
    commit = adopt_later_payment(third.step)
    assert commit is not None
    assert commit.state is State.SETTLING
    turns = [(turn.number, turn.call, turn.outcome) for turn in world.job().turns]
    assert turns == [(1, first.call, "question"), (2, second.call, "sent")]
    assert (world.job().number("paid"), len(world.sent)) == (2, 2)
    assert world.redis.hgetall("reserved:{rq}:a") == {first.call: "100", second.call: "100"}
    assert world.redis.zrange("slots:{rq}:a", 0, -1) == []
    assert adopt_later_payment(third.step) is None


def test_a_recovery_adopts_a_lost_answer_for_a_held_job(world: World) -> None:
    """Without it, the job would wait for a decision that a person had made before the loss."""
    first, second = paid_again(world)
    runtime = world.runtime()
    restorer = JobRestorer(runtime.ledger, runtime.journal, runtime.output)
    for page in runtime.journal.pages():
        restorer.restore_page(page)
    assert (restorer.counts.resumed, world.job().state) == (1, State.SETTLING)
    assert [turn.call for turn in world.job().turns] == [first.call, second.call]
    assert world.job().number("paid") == 2


def test_a_message_that_was_not_charged_gives_way_to_a_lost_payment(world: World) -> None:
    first = Actor(world)
    first.prepare()
    assert first.begin() == "OK"
    assert first.create()
    world.save()
    assert not first.send(refused=True)
    first.commit(Commit(State.PREPARING))
    second = Actor(world)
    second.pay()
    world.restore()
    world.expire_lease()
    third = Actor(world)
    assert adopt_later_payment(third.step) is not None
    assert [turn.call for turn in world.job().turns] == [second.call]
    assert (world.job().number("paid"), len(world.sent)) == (1, 1)


def test_a_later_entry_that_cannot_be_read_does_not_replace_a_payment(
    world: World, tmp_path: Path
) -> None:
    first = Actor(world)
    first.pay()
    world.save()
    first.commit(Commit(State.GENERATING, outcome="question"))
    Actor(world).pay()
    world.restore()
    world.expire_lease()
    (path,) = (tmp_path / "media" / ".journal").rglob("2")
    path.write_bytes(path.read_bytes()[:40])
    held = adopt_later_payment(Actor(world).step)
    assert held is not None
    assert (held.state, held.reason) == (State.HELD, Reason.OUTCOME_UNKNOWN)
    assert [(turn.number, turn.attempt) for turn in world.job().turns] == [(1, 1), (2, 2)]
    assert world.job().turns[0].call == first.call


def test_a_refused_answer_does_not_hide_that_the_question_was_paid(world: World) -> None:
    """If the search ended at the mark of the answer, a loss of Redis would pay turn 1 again."""
    first = asked(world)
    second = Actor(world)
    assert second.prepare() == 2
    assert second.begin() == "OK"
    assert second.create()
    assert not second.send(refused=True)
    world.redis.flushdb()
    world.submit()
    third = Actor(world)
    answer = third.prepare()
    assert isinstance(answer, Commit)
    assert answer.state is State.SETTLING
    assert world.job().call == first.call
    third.hold()
    assert actions.release(world.producer, "j", mode="pay_again", who="me").changed == 1
    fourth = Actor(world)
    fourth.pay()
    assert (fourth.number, len(world.sent)) == (3, 2)


def test_a_late_mark_does_not_undo_the_decision_about_an_earlier_attempt(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(world)
    late = Actor(world)
    assert late.prepare() == 2
    late.begin()
    assert late.create()
    world.expire_lease()
    Actor(world).hold()
    assert actions.release(world.producer, "j", mode="pay_again", who="me").changed == 1
    make_late(late, monkeypatch)
    assert not late.send()
    third = Actor(world)
    third.pay()
    assert (third.number, [turn for turn, _ in world.sent]) == (3, [1, 3])


def test_an_entry_that_cannot_be_read_holds_its_job_alone(world: World, tmp_path: Path) -> None:
    first = Actor(world)
    first.pay()
    (path,) = (tmp_path / "media" / ".journal").rglob("1")
    path.write_bytes(path.read_bytes()[:40])
    world.redis.flushdb()
    world.submit()
    second = Actor(world)
    held = second.prepare()
    assert isinstance(held, Commit)
    assert (held.state, held.reason) == (State.HELD, Reason.OUTCOME_UNKNOWN)
    second.commit(held)
    assert actions.release(world.producer, "j", mode="pay_again", who="me").changed == 1
    third = Actor(world)
    third.pay()
    assert third.number == 2


def test_another_payload_under_the_key_adopts_nothing(world: World) -> None:
    Actor(world).pay()
    world.redis.flushdb()
    world.submit()
    world.redis.hset("job:{rq}:j", "fingerprint", "g")
    refused = Actor(world).prepare()
    assert isinstance(refused, Commit)
    assert (refused.state, refused.reason) == (State.FAILED, Reason.KEY_CONFLICT)
    assert world.job().call is None
