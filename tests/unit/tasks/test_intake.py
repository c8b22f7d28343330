"""The Celery task by which other services submit jobs: its answer and its errors."""

import errno
import json
from collections.abc import Iterator
from typing import Any

import pytest

from config.settings import Settings, get_settings
from tasks import intake
from tasks.producer import queries
from tasks.schema.image_job import job_id_for
from tests.support.ledger_access import recent_ids
from tests.unit.tasks.conftest import ProducerHarness
from worker.runtime.runtime import get_runtime

URL = "https://example.org/a.jpg"


@pytest.fixture(autouse=True)
def worker_process(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make the settings of this process name the test's own Valkey."""
    monkeypatch.setenv("REDIS_URL", settings.redis.url.get_secret_value())
    get_settings.cache_clear()
    get_runtime.cache_clear()
    yield
    get_runtime().ledger.redis.close()
    get_settings.cache_clear()
    get_runtime.cache_clear()


def send(payload: object, task_id: str = "t") -> Any:
    return intake.submit.apply(args=(payload,), task_id=task_id)


def test_the_answer_is_json_and_the_job_is_queued(harness: ProducerHarness) -> None:
    answer = send({"image": URL, "key": "k"}).get()
    assert json.loads(json.dumps(answer)) == {
        "job_id": job_id_for("k"),
        "state": "queued",
        "duplicate": False,
    }
    assert queries.get(harness.producer, answer["job_id"]).image == URL
    assert send({"image": URL, "key": "k"}).get()["duplicate"] is True


def test_a_path_in_an_allowed_folder_is_not_read_at_submission(
    harness: ProducerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REELQUEUE_MEDIA_ROOTS", f"{harness.folder},s3://photos/public")
    answer = send({"image": str(harness.folder / "comes-later.jpg")}).get()
    job = harness.producer.ledger.job(answer["job_id"])
    assert job is not None
    assert "media" not in job.payload
    stored = send({"image": "s3://photos/public/a.jpg", "key": "stored"})
    assert stored.get()["state"] == "queued"


def test_paths_outside_the_allowed_folders_are_refused_immediately(
    harness: ProducerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REELQUEUE_MEDIA_ROOTS", f"{harness.folder},s3://photos/public")
    inside = str(harness.folder / "a.jpg")
    for image in ("/etc/hostname", f"{inside}/../../b.jpg", "b.jpg"):
        refused = send({"image": image})
        assert type(refused.result) is ValueError
        assert "image: forbidden_source: " in str(refused.result)
        assert "REELQUEUE_MEDIA_ROOTS" in str(refused.result)
    for address in ("s3://photos/a.jpg", "s3://photos/public2/a.jpg", "gs://photos/public/a.jpg"):
        assert "image: forbidden_source: " in str(send({"image": address}).result)
    assert "without ::" in str(send({"image": "s3://photos/public/a::b"}).result)
    refused = send({"image": inside, "attach": ["/etc/passwd", "/etc/hostname"]})
    assert str(refused.result).count("attach: forbidden_source") == 2
    assert recent_ids(harness.producer.ledger, 1) == []


@pytest.mark.parametrize(
    ("payload", "fields"),
    [
        ({"image": "", "seconds": 99, "color": "red"}, ("image", "seconds", "color")),
        ({}, ("image",)),
        ("photo.jpg", ("must be an object",)),
    ],
)
def test_an_invalid_payload_is_a_built_in_error_that_names_each_field(
    harness: ProducerHarness, payload: object, fields: tuple[str, ...]
) -> None:
    refused = send(payload)
    assert type(refused.result) is ValueError
    assert all(field in str(refused.result) for field in fields)
    assert "pydantic" not in str(refused.traceback)
    assert recent_ids(harness.producer.ledger, 1) == []


def test_a_key_with_another_payload_is_refused(harness: ProducerHarness) -> None:
    send({"image": URL, "key": "k"})
    refused = send({"image": URL, "key": "k", "seconds": 5})
    assert type(refused.result) is ValueError
    assert "another payload" in str(refused.result)
    assert len(recent_ids(harness.producer.ledger, 5)) == 1


def test_the_task_must_not_have_the_id_of_its_job(harness: ProducerHarness) -> None:
    refused = send({"image": URL, "key": "k"}, task_id=job_id_for("k"))
    assert type(refused.result) is ValueError
    assert recent_ids(harness.producer.ledger, 1) == []


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((), {}), (({"image": URL}, 2), {}), (({"image": URL},), {"odd": 1}), ((), {"image": URL})],
)
def test_other_arguments_than_one_job_are_a_mistake_of_the_sender(
    harness: ProducerHarness,
    caplog: pytest.LogCaptureFixture,
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> None:
    with caplog.at_level("INFO", "celery.app.trace"):
        refused = intake.submit.apply(args=args, kwargs=kwargs, task_id="t")
    assert type(refused.result) is ValueError
    assert "send one argument" in str(refused.result)
    assert [record.exc_info for record in caplog.records] == [None], "no traceback in the log"
    assert "Traceback" not in caplog.text
    assert recent_ids(harness.producer.ledger, 1) == []


def test_the_job_may_be_sent_by_its_name(harness: ProducerHarness) -> None:
    sent = intake.submit.apply(kwargs={"payload": {"image": URL}}, task_id="t")
    assert sent.get()["state"] == "queued"
    assert len(recent_ids(harness.producer.ledger, 5)) == 1


@pytest.mark.parametrize(
    "shortage", [MemoryError(), OSError(errno.EMFILE, "x"), RuntimeError("can't start new thread")]
)
def test_a_submission_is_handled_again_after_a_shortage_of_the_machine(
    harness: ProducerHarness, monkeypatch: pytest.MonkeyPatch, shortage: Exception
) -> None:
    """The job exists only as this message, so a failure of the task would lose it."""

    def fail(*_: object) -> None:
        raise shortage

    with monkeypatch.context() as short:
        short.setattr("tasks.intake.enqueue", fail)
        assert send({"image": URL, "key": "k"}).state == "REJECTED"
    assert send({"image": URL, "key": "k"}).get()["duplicate"] is False
    assert len(recent_ids(harness.producer.ledger, 5)) == 1
