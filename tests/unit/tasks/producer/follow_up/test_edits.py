"""Texts about a job that make no job, and uploads that are repeated."""

from dataclasses import replace

import pytest
from pydantic import SecretStr

from config.settings import ApiSettings
from tasks.manifests.batch_submission import SessionMode, submit_manifest
from tasks.producer import actions, queries
from tasks.producer.follow_up.answers import Answer
from tasks.producer.follow_up.edits import say
from tasks.schema.errors import NotSayable
from tasks.schema.submission import Submission
from tests.support.waiting import refusing_port
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


def test_a_job_without_a_project_takes_no_edit_and_says_what_helps(
    harness: ProducerHarness,
) -> None:
    queued, failed = harness.submit(), harness.submit()
    with pytest.raises(NotSayable, match=f"no project yet. Nothing.*`reelqueue cancel {queued}`"):
        say(harness.producer, queued, "zoom in")
    end = {"reason": Reason.BAD_IMAGE, "message": "It is damaged.", "remedy": "Save it again."}
    harness.finish_step(failed, State.FAILED, **end)
    with pytest.raises(NotSayable, match=r"failed before .*: It is damaged\. Save it again\.$"):
        say(harness.producer, failed, "zoom in")


def test_a_short_answer_to_a_question_is_an_edit(harness: ProducerHarness) -> None:
    job_id = harness.submit()
    harness.finish_step(job_id, State.HELD, reason=Reason.QUESTION, facts={"session_id": "s"})
    assert isinstance(say(harness.producer, job_id, "yes"), Submission)


def test_a_failed_upload_is_made_again_when_it_is_repeated(
    harness: ProducerHarness,
) -> None:
    api = ApiSettings(
        url=f"http://127.0.0.1:{refusing_port()}", tokens=(SecretStr("nmv_usr_for_this_test"),)
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


def test_an_edit_belongs_to_the_batch_of_its_job_and_starts_even_if_the_batch_is_paused(
    harness: ProducerHarness,
) -> None:
    producer = harness.producer
    batch_id = harness.submit_batch(2)
    first, _ = queries.list_batch_jobs(producer, batch_id)
    harness.finish_step(first.job_id, State.SUCCEEDED, **DONE)
    actions.pause(producer, batch_id)
    edit = say(producer, first.job_id, "pan left, slowly")
    assert isinstance(edit, Submission)
    rows = [(job.job_id, job.row) for job in queries.list_batch_jobs(producer, batch_id)]
    assert sorted(rows[:2]) == sorted([(first.job_id, 1), (edit.job_id, 1)])
    assert queries.get_batch(producer, batch_id).total == 3
    assert [job_id for job_id, _ in producer.ledger.due(9, room=9, admit=9)] == [edit.job_id]
    assert say(producer, edit.job_id, "credits")
    actions.cancel(producer, batch_id)
    assert queries.get_batch(producer, batch_id).open == 0


def test_an_edit_in_a_batch_with_a_shared_session_works_in_the_session_of_its_job(
    harness: ProducerHarness,
) -> None:
    """The queued rows of the batch are not started by the edit, and do not wait for it."""
    producer = harness.producer
    batch_id = submit_manifest(
        producer,
        harness.manifest(*({"image": f"https://example.org/{n}.jpg"} for n in range(2))),
        session=SessionMode.SHARED,
    ).batch_id
    first, second = queries.list_batch_jobs(producer, batch_id)
    harness.finish_step(first.job_id, State.SUCCEEDED, **DONE)
    edit = say(producer, first.job_id, "pan left, slowly")
    assert isinstance(edit, Submission)
    started = {job_id for job_id, _ in producer.ledger.due(9, room=9, admit=9)}
    assert started == {edit.job_id, second.job_id}
    record = producer.ledger.job(edit.job_id)
    assert record is not None
    assert (record.fact("shared"), record.fact("follows")) == (None, first.job_id)


def test_submitting_the_manifest_again_does_not_change_edits(harness: ProducerHarness) -> None:
    producer = harness.producer
    rows = [{"image": f"https://example.org/{n}.jpg"} for n in range(2)]
    batch_id = submit_manifest(producer, harness.manifest(*rows)).batch_id
    first, _ = queries.list_batch_jobs(producer, batch_id)
    harness.finish_step(first.job_id, State.SUCCEEDED, **DONE)
    edit = say(producer, first.job_id, "pan left, slowly")
    again = submit_manifest(producer, harness.manifest(*rows))
    assert (again.jobs, again.duplicates, again.changed) == (0, 2, 0)
    assert isinstance(edit, Submission)
    assert queries.get(producer, edit.job_id).replaced_by is None
    assert queries.get_batch(producer, batch_id).total == 3


def test_nothing_is_uploaded_while_an_edit_works_in_the_session(harness: ProducerHarness) -> None:
    """The job itself has ended, but the session is in use."""
    ledger, job_id = harness.producer.ledger, harness.submit()
    harness.finish_step(job_id, State.SUCCEEDED, facts={"session_id": "s", "account": "a"})
    edit = say(harness.producer, job_id, "add slow rain, five seconds")
    assert isinstance(edit, Submission)
    fence = harness.claim(edit.job_id)
    assert ledger.acquire_session(edit.job_id, fence).verdict == "OK"
    with pytest.raises(NotSayable, match=f"{edit.job_id} is still using its project"):
        say(harness.producer, job_id, "upload", attach=[str(harness.picture("logo.png"))])
