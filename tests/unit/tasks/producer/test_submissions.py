"""Submission of single jobs, with a real ledger."""

from pathlib import Path

import pytest

from tasks.producer.submissions import check_webhook, enqueue, submit
from tasks.schema.errors import InvalidPayloadError, KeyConflict
from tasks.schema.image_job import ImageJob, job_id_for
from tasks.schema.media_keys import media_key
from tests.support.ledger_access import recent_ids
from tests.unit.tasks.conftest import ProducerHarness
from worker.ledger.model.states import Reason, State
from worker.media.prepared_file import sha256_of

URL = "https://example.org/a.jpg"


def test_the_same_key_is_the_same_job(harness: ProducerHarness) -> None:
    payload = {"image": URL, "key": "order 7"}
    first, again = submit(harness.producer, payload), submit(harness.producer, payload)
    assert first.as_dict() == {
        "job_id": job_id_for("order 7"),
        "state": "queued",
        "duplicate": False,
    }
    assert (again.job_id, again.duplicate) == (first.job_id, True)
    with pytest.raises(KeyConflict, match="order 7"):
        submit(harness.producer, {**payload, "prompt": "Another"})


def test_a_duplicate_has_the_current_state_of_the_job(harness: ProducerHarness) -> None:
    job_id = harness.submit(key="k")
    harness.finish_step(job_id, State.FAILED, reason=Reason.BAD_IMAGE, message="Bad.")
    assert submit(harness.producer, {"image": URL, "key": "k"}).state == "failed"


def test_local_files_are_copied_into_the_media_store(harness: ProducerHarness) -> None:
    path = harness.picture("My Photo.PNG")
    job = harness.producer.ledger.job(harness.submit(image=str(path), attach=[str(path)]))
    assert job is not None
    key = media_key(sha256_of(path), path.name)
    assert (job.payload["media"], job.payload["attach"]) == (key, [key])
    assert job.payload["image"] == str(path)
    stored = harness.producer.media.local_path(key)
    assert stored is not None
    assert Path(stored).read_bytes() == path.read_bytes()


def test_enqueue_reads_no_file(harness: ProducerHarness) -> None:
    submission = enqueue(harness.producer, ImageJob.read({"image": "/nowhere/a.jpg"}))
    job = harness.producer.ledger.job(submission.job_id)
    assert job is not None
    assert "media" not in job.payload


def test_a_webhook_needs_a_secret_to_sign_its_messages(harness: ProducerHarness) -> None:
    payload = {"image": URL, "webhook": "https://example.org/hook"}
    with pytest.raises(InvalidPayloadError, match="REELQUEUE_WEBHOOK_SECRET"):
        submit(harness.producer, payload)
    with pytest.raises(InvalidPayloadError, match="REELQUEUE_WEBHOOK_SECRET"):
        enqueue(harness.producer, ImageJob.read(payload))
    assert harness.producer.ledger.counts()[0] == {}


def test_the_address_of_a_batchs_webhook_is_checked(harness: ProducerHarness) -> None:
    with pytest.raises(InvalidPayloadError, match="webhook: must"):
        check_webhook(harness.producer, "example.org/hook")


def test_an_error_names_each_file_that_cannot_be_used(
    harness: ProducerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(harness.folder)
    (harness.folder / "empty.jpg").touch()
    (harness.folder / "text.jpg").write_text("no picture")
    (harness.folder / "folder.jpg").mkdir()
    with (harness.folder / "huge.jpg").open("wb") as file:
        file.truncate(201 * 10**6)
    names = ("empty.jpg", "text.jpg", "folder.jpg", "huge.jpg", "gone.jpg")
    for name in names:
        with pytest.raises(InvalidPayloadError, match=name):
            submit(harness.producer, {"image": name})
    with pytest.raises(InvalidPayloadError) as refused:
        submit(harness.producer, {"image": "gone.jpg", "attach": ["text.jpg"]})
    assert [problem.split(":")[0] for problem in refused.value.problems] == ["image", "attach"]
    assert recent_ids(harness.producer.ledger, 10) == []
