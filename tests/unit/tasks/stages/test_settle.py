"""What a job does and says when the state of its project shows no finished clip."""

import pytest

from tasks.stages.settle import settle
from tasks.step.exceptions import commit_for_exception
from tests.unit.tasks.stages.conftest import SESSION, Worker
from tests.unit.worker.loopback_server import Server, json_reply
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.model.submissions import NewJob
from worker.nemo.errors import SessionNotFound


def unknown(worker: Worker) -> Commit:
    """Let the outcome of the job's first message stay unknown."""
    step = worker.claim()
    worker.pay(step)
    worker.commit(step, Commit(State.SETTLING))
    return worker.settle_until_held()


def test_an_unknown_outcome_names_the_balances_if_only_its_message_can_have_changed_them(
    worker: Worker,
) -> None:
    end = unknown(worker)
    assert end.reason is Reason.OUTCOME_UNKNOWN
    assert (
        f"{worker.account} had 1000 credits before it and 900 after it, and paid for no other "
        "message of this service meanwhile"
    ) in end.message


def test_the_balance_is_read_after_another_worker_has_read_it(worker: Worker) -> None:
    ledger = worker.runtime.ledger
    ledger.redis.set(ledger.key("balance_lock", worker.account), "another worker", px=500)
    assert "had 1000 credits before it and 900 after it" in unknown(worker).message


def test_an_unknown_outcome_names_no_difference_that_other_messages_made(worker: Worker) -> None:
    ledger = worker.runtime.ledger
    ledger.submit(NewJob(id="other", payload={}, fingerprint="f"))
    ledger.due(10, room=10, admit=10)
    fence = ledger.claim("other", "w", "n").fence
    ledger.update_facts("other", fence, {"account": worker.account, "session_id": "t"})
    job = ledger.job("other")
    assert job is not None
    worker.pay(worker.context(job, fence), job_id="other")
    end = unknown(worker)
    assert "does not show it, because it paid for other messages of this service" in end.message
    assert "1000" not in end.message


def test_as_done_is_offered_once_if_there_is_no_draft_and_pays_nothing(
    worker: Worker,
) -> None:
    end = unknown(worker)
    assert "--as-done" in end.remedy
    ledger = worker.runtime.ledger
    assert ledger.release("j", mode="pay_again") == "OK"
    worker.commit(
        worker.claim(),
        Commit(State.HELD, reason=Reason.SESSION_LOST, resume=State.PREPARING),
    )
    assert ledger.release("j", mode="as_done") == "OK"
    end = worker.settle_until_held()
    assert "--as-done" not in end.remedy
    assert "--pay-again" in end.remedy
    assert worker.state() is State.HELD
    assert ledger.release("j") == "NEEDS_CHOICE"


def test_the_draft_of_another_message_is_not_offered_as_done(worker: Worker) -> None:
    step, ledger = worker.claim(), worker.runtime.ledger
    worker.pay(step)
    worker.commit(step, Commit(State.SETTLING))
    later = {"last": "other:1:c", "last_at": ledger.now_ms() + 1}
    ledger.redis.hset(ledger.key("session", SESSION), mapping=later)
    end = worker.settle_until_held()
    assert "Another message was sent later in the project of this job" in end.message
    assert "--as-done" not in end.remedy
    assert "--pay-again" in end.remedy


def test_a_lost_project_is_looked_for_once(worker: Worker, server: Server) -> None:
    unknown(worker)
    assert worker.runtime.ledger.release("j", mode="as_done") == "OK"
    lost = json_reply({"code": 1002, "message": "session not found"})
    server.on(f"GET /api/state/nemo_agent/me/{SESSION}/latest", lost)
    step = worker.claim()
    with pytest.raises(SessionNotFound) as caught:
        settle(step)
    end = commit_for_exception(step, caught.value)
    assert (end.reason, "--as-done" in end.remedy) == (Reason.SESSION_LOST, False)


def test_a_project_that_changes_after_a_question_holds_the_job_as_a_question(
    worker: Worker,
) -> None:
    step = worker.claim()
    worker.pay(step)
    worker.commit(step, Commit(State.GENERATING, outcome="question", facts={"reply": "Which?"}))
    worker.commit(worker.claim(), Commit(State.SETTLING, facts={"baseline": "before"}))
    end = worker.settle_until_held()
    assert (end.reason, "The agent asked: Which?" in end.message) == (Reason.QUESTION, True)
    assert worker.state() is State.HELD, "and is not sent back to look at it again for ever"
    assert worker.runtime.ledger.release("j", mode="pay_again") == "OK"
    assert worker.state() is State.QUEUED
