"""Jobs whose records Redis has put back to an earlier moment, while messages were sent after it.

In each schedule, the record agrees with the payment journal in the end, and a paid clip is
delivered.
"""

import pytest

from tasks.producer import actions
from tasks.producer.producer import Producer
from tasks.step.ends import record_end
from tests.unit.tasks.stages.conftest import SESSION, Worker
from tests.unit.tasks.stages.rollback import Rollback
from tests.unit.worker.loopback_server import Server
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit


@pytest.fixture
def story(worker: Worker, server: Server) -> Rollback:
    return Rollback(worker, server)


@pytest.mark.parametrize("is_answer", [False, True], ids=["first", "answer"])
def test_a_message_that_was_never_sent_is_not_the_last_one_of_its_session(
    story: Rollback, is_answer: bool
) -> None:
    """Otherwise the draft of the paid message would count as that of another one."""
    if is_answer:
        story.ask()
        step = story.claim()
        story.commit(step, Commit(State.GENERATING, facts={"next_attempt": "2:2"}))
    else:
        story.prepare()
    story.save()
    story.pay(attempt=2 if is_answer else 1)
    story.restore()
    story.run(1)
    story.show_draft()
    story.run(4)
    assert story.job().state is State.RENDERING
    story.check_payments()


def test_a_sender_that_still_owns_its_job_after_the_loss_is_paid_once(story: Rollback) -> None:
    story.prepare()
    sender = story.claim()
    story.save()
    right = story.begin(sender)
    assert right.create()
    story.restore()
    story.recover()
    story.show_draft()
    call = right.entry.call
    facts = {f"fact:{call}:stream": '{"clean": true, "reply": "Done."}'}
    assert story.commit(sender, Commit(State.SETTLING, facts=facts))
    story.run(8)
    assert story.job().state is State.RENDERING
    story.check_payments()


@pytest.mark.parametrize("is_recovered", [False, True])
def test_a_draft_of_another_message_with_the_same_attempt_is_adopted(
    story: Rollback, is_recovered: bool
) -> None:
    """The worker died after its intent, before it had found the entry of the other message."""
    story.prepare()
    story.save()
    story.pay()
    story.restore()
    story.begin(story.claim())
    story.expire_lease()
    story.show_draft()
    if is_recovered:
        story.recover()
    story.run(8)
    assert story.job().state is State.RENDERING
    story.check_payments()


def test_an_answer_that_was_never_sent_is_not_recorded_as_paid(story: Rollback) -> None:
    """A worker died between intent and entry, while the agent worked on after its question."""
    story.ask()
    story.begin(story.claim(), attempt=2)
    story.expire_lease()
    story.show_draft()
    story.run(6)
    assert story.job().state is State.RENDERING
    story.check_payments()


def test_a_refused_answer_does_not_hide_the_draft_of_the_question(story: Rollback) -> None:
    """The agent worked on after its question, and its answer was refused meanwhile."""
    story.ask()
    step = story.claim()
    right = story.begin(step, attempt=2)
    assert right.create()
    right.withdraw("rate_limited")
    story.commit(step, Commit(State.GENERATING))
    story.show_draft()
    story.run(6)
    assert story.job().state is State.RENDERING
    story.check_payments()


def test_a_first_message_that_was_never_sent_is_sent_although_the_session_has_a_draft(
    story: Rollback,
) -> None:
    story.prepare()
    story.begin(story.claim())
    story.expire_lease()
    story.show_draft()
    story.run(4)
    assert story.job().state in (State.PREPARING, State.GENERATING)
    story.check_payments()


def test_a_message_that_a_person_paid_again_for_is_adopted_before_its_draft_is_taken(
    story: Rollback,
) -> None:
    """The stream of the first message ended cleanly, which proves nothing after its time."""
    story.prepare()
    call = story.pay()
    story.end_stream(call, "I am on it.")
    story.redis.hset("job:{rq}:j", "sent_at", 1)
    story.save()
    story.hold()
    story.pay_again()
    story.show_draft()
    story.restore()
    story.expire_lease()
    story.run(6)
    assert story.job().state is State.RENDERING
    story.check_payments()


def test_an_upload_without_a_session_is_made_again(story: Rollback) -> None:
    """The loss came while the step that wrote the session still owned the job."""
    story.runtime.ledger.due(10, room=10, admit=10)
    step = story.claim()
    assert story.commit(step, Commit(State.GENERATING, facts={"uploaded": "1", "uploading": ""}))
    story.run(1)
    assert story.job().state is State.PREPARING
    assert not story.job().fact("uploaded")


def test_a_decision_about_an_earlier_message_does_not_apply_to_an_adopted_one(
    story: Rollback,
) -> None:
    story.prepare()
    story.pay()
    story.hold()
    story.save()
    story.pay_again()
    story.restore()
    story.decide("as_done")
    story.run(2)
    assert story.job().state is State.SETTLING, "the adopted message is still running"
    story.check_payments()


def test_the_question_after_an_adopted_decision_is_the_first_one(story: Rollback) -> None:
    """If the decision counted as an answer, the job would be held for a second question."""
    story.prepare()
    story.pay()
    story.hold()
    story.save()
    again = story.pay_again()
    story.restore()
    assert story.recover().resumed == 1
    assert story.outcomes() == ["pay_again"]
    story.end_stream(again, "Which length do you want?")
    story.run(2)
    assert (story.job().state, story.job().turn) == (State.GENERATING, 3)
    story.check_payments()


def test_a_failure_before_the_last_payment_is_not_restored(story: Rollback) -> None:
    story.ask()
    step = story.claim()
    failure = Commit(State.FAILED, reason=Reason.BAD_REQUEST, message="refused", remedy="mend it")
    record_end(step, failure)
    story.commit(step, failure)
    assert actions.retry(Producer.from_runtime(story.runtime), "j").changed == 1
    story.commit(story.claim(), Commit(State.GENERATING))
    story.pay(attempt=2)
    story.redis.flushdb()
    assert story.recover().resumed == 1
    assert story.job().state is State.SETTLING
    story.check_payments()


def test_a_failed_job_continues_if_it_was_retried_and_has_paid_since(story: Rollback) -> None:
    step = story.worker.claim()
    story.commit(step, Commit(State.FAILED, reason=Reason.BAD_REQUEST, message="m", remedy="r"))
    story.save()
    assert actions.retry(Producer.from_runtime(story.runtime), "j").changed == 1
    story.prepare()
    story.pay()
    story.restore()
    assert story.recover().resumed == 1
    assert story.job().state is State.SETTLING
    story.check_payments()


def test_a_cancellation_adopts_a_lost_payment_first(story: Rollback) -> None:
    story.ask()
    step = story.claim()
    held = Commit(
        State.HELD, reason=Reason.CREDITS, resume=State.GENERATING, message="m", remedy="r"
    )
    story.commit(step, held)
    story.save()
    story.decide("")
    story.run(1)
    story.pay(attempt=2)
    story.restore()
    actions.cancel(Producer.from_runtime(story.runtime), "j", confirmed=True)
    story.check_payments()


def test_a_held_job_continues_if_the_mark_of_its_message_was_lost(story: Rollback) -> None:
    story.prepare()
    right = story.begin(story.claim())
    assert right.create()
    story.hold()
    story.save()
    right.withdraw("rate_limited")
    assert story.job().state is State.QUEUED
    story.restore()
    story.recover()
    assert story.job().state is State.QUEUED
    story.check_payments()


def test_a_cancelled_job_does_not_continue_because_of_a_lost_mark(story: Rollback) -> None:
    """It would pay although a person has cancelled it."""
    story.prepare()
    right = story.begin(story.claim())
    assert right.create()
    story.hold()
    story.save()
    producer = Producer.from_runtime(story.runtime)
    assert actions.cancel(producer, "j", confirmed=True).changed == 1
    right.withdraw("rate_limited")
    story.restore()
    story.recover()
    assert story.job().state is State.HELD


def test_a_message_of_a_version_without_a_journal_stays_a_payment(story: Rollback) -> None:
    story.prepare()
    begun = story.runtime.payments.begin(
        "j", story.claim().lease.fence, turn=1, call="j:1:2", cost=100, cap=9, session_id=SESSION
    )
    assert begun.verdict == "OK"
    story.end_stream("j:1:2", "Which length do you want?")
    story.expire_lease()
    story.save()
    story.commit(story.claim(), Commit(State.GENERATING, outcome="question"))
    story.pay(attempt=1)
    story.restore()
    story.expire_lease()
    assert story.recover().resumed == 1
    job = story.job()
    assert [(turn.number, turn.attempt) for turn in job.turns] == [(1, 0), (2, 1)]
    assert (job.turns[0].call, job.number("paid")) == ("j:1:2", 2)


def test_a_decision_after_a_question_is_restored_with_the_payment(story: Rollback) -> None:
    story.ask()
    held = Commit(
        State.HELD, reason=Reason.QUESTION, resume=State.SETTLING, message="m", remedy="r"
    )
    story.commit(story.claim(), held)
    story.save()
    story.pay_again()
    assert story.outcomes() == ["pay_again"]
    story.restore()
    assert story.recover().resumed == 1
    assert story.outcomes() == ["pay_again"]
    story.check_payments()


def test_a_mark_after_a_decision_is_restored_with_the_decision(story: Rollback) -> None:
    story.prepare()
    late = story.begin(story.claim())
    assert late.create()
    story.hold()
    story.pay_again()
    late.withdraw("rate_limited")
    story.check_payments()
    story.redis.flushdb()
    assert story.recover().resumed == 1
    assert story.outcomes() == ["pay_again"]
    story.check_payments()


def test_a_session_forgets_the_message_of_a_withdrawn_intent(story: Rollback) -> None:
    story.prepare()
    right = story.begin(story.claim())
    assert story.runtime.ledger.last_message(SESSION) == right.entry.call
    assert right.create()
    right.withdraw("rate_limited")
    assert story.runtime.ledger.last_message(SESSION) is None
