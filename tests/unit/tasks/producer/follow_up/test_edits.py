"""Texts about a job that make no job, and uploads that are repeated."""

from dataclasses import replace

import pytest
from pydantic import SecretStr

from config.settings import ApiSettings
from tasks.producer.follow_up.answers import Answer
from tasks.producer.follow_up.edits import say
from tasks.schema.errors import NotSayable
from tasks.schema.submission import Submission
from tests.support.waiting import free_port
from tests.unit.tasks.conftest import ProducerHarness
from worker.ledger.model.states import Reason, State
from worker.ledger.payments import Payments
from worker.runtime.runtime import Runtime

DONE = {"facts": {"session_id": "s", "account": "a", "draft": "{}"}}


def finished(harness: ProducerHarness) -> str:
    """A job with a session of its own; its id."""
    job_id = harness.submit()
    harness.finish_step(job_id, State.SUCCEEDED, **DONE)
    return job_id


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("thanks", "thanks"),
        ("hello", "thanks"),
        ("谢谢", "thanks"),
        ("help", "help"),
        ("cancel", "cancel"),
        ("取消", "cancel"),
        ("?", "clarify"),
        ("hmm", "clarify"),
        ("where is my clip?", "export"),
        ("what did it cost?", "credits"),
    ],
)
def test_small_talk_makes_no_job(harness: ProducerHarness, text: str, action: str) -> None:
    job_id = finished(harness)
    answer = say(harness.producer, job_id, text)
    assert isinstance(answer, Answer)
    assert answer.action == action
    assert harness.producer.ledger.counts()[0] == {State.SUCCEEDED: 1}


def test_a_request_to_cancel_names_the_command_and_changes_nothing(
    harness: ProducerHarness,
) -> None:
    job_id = harness.submit()
    answer = say(harness.producer, job_id, "cancel")
    assert isinstance(answer, Answer)
    assert f"reelqueue cancel {job_id}" in answer.text
    assert harness.producer.ledger.counts()[0] == {State.QUEUED: 1}


def test_a_short_answer_to_a_question_is_an_edit(harness: ProducerHarness) -> None:
    job_id = harness.submit()
    harness.finish_step(job_id, State.HELD, reason=Reason.QUESTION, facts={"session_id": "s"})
    assert isinstance(say(harness.producer, job_id, "yes"), Submission)


def test_an_upload_that_failed_is_not_taken_for_done_when_it_is_repeated(
    harness: ProducerHarness,
) -> None:
    api = ApiSettings(
        url=f"http://127.0.0.1:{free_port()}", tokens=(SecretStr("nmv_usr_for_this_test"),)
    )
    settings = harness.producer.settings.model_copy(update={"api": api})
    (account,) = Runtime.open(settings).accounts.names()
    producer = replace(harness.producer, settings=settings)
    job_id = harness.submit()
    harness.finish_step(
        job_id, State.SUCCEEDED, facts={"session_id": "s", "account": account, "draft": "{}"}
    )
    logo = str(harness.picture("logo.png"))
    Payments(producer.ledger).record_rate_limited(account, 600)
    with pytest.raises(NotSayable, match="cooling down"):
        say(producer, job_id, "upload", attach=[logo])
    producer.ledger.redis.hdel(producer.ledger.key("account", account), "cooling_until")
    for _ in range(2):
        with pytest.raises(NotSayable, match="could not be uploaded"):
            say(producer, job_id, "upload", attach=[logo])
