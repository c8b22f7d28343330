"""Other services submit with Celery alone, and follow the job by its ID."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest
from celery import Celery
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult

from tests.support.celery_apps import third_party
from tests.support.stack import Stack
from tests.support.waiting import wait_until
from worker.ledger.model.states import State

pytestmark = pytest.mark.integration

PATIENCE = 120


@pytest.fixture
def sender(clean_stack: Stack) -> Iterator[Celery]:
    """A Celery app without code of this project."""
    with third_party(clean_stack.valkey.url) as app:
        yield app


def send(app: Celery, image: dict[str, object]) -> "AsyncResult[dict[str, Any]]":
    """Send a submission to the queue of the service."""
    return app.send_task("tasks.submit", queue="reelqueue", args=[image])


def payload(path: Path, **fields: object) -> dict[str, object]:
    return {"image": str(path), "prompt": "a 1-second pan left", **fields}


def test_a_key_makes_a_submission_idempotent_and_determines_the_job_id(
    clean_stack: Stack, sender: Celery
) -> None:
    key = "order 1"
    image = payload(clean_stack.image(), key=key)
    first = send(sender, image).get(timeout=PATIENCE)
    again = send(sender, image).get(timeout=PATIENCE)
    assert first["job_id"] == str(uuid5(NAMESPACE_URL, "reelqueue:job:" + key))
    assert (first["duplicate"], again["duplicate"]) == (False, True)
    record = sender.AsyncResult(first["job_id"]).get(timeout=PATIENCE)
    assert (record["state"], record["paid_messages"]) == ("succeeded", 1)
    assert record["video"]["codec"] == "h264"


def test_another_payload_under_a_known_key_is_refused(clean_stack: Stack, sender: Celery) -> None:
    image = payload(clean_stack.image(), key="order 2")
    send(sender, image).get(timeout=PATIENCE)
    with pytest.raises(ValueError, match="order 2"):
        send(sender, {**image, "seconds": 3}).get(timeout=PATIENCE)


def test_an_invalid_payload_is_refused_with_every_error_by_field(
    clean_stack: Stack, sender: Celery
) -> None:
    wrong = payload(clean_stack.image(), seconds=900, colour="red", priority="soon")
    with pytest.raises(ValueError, match="seconds") as refusal:
        send(sender, wrong).get(timeout=PATIENCE)
    assert all(field in str(refusal.value) for field in ("seconds", "colour", "priority"))


def test_a_failed_job_raises_its_reason(clean_stack: Stack, sender: Celery) -> None:
    path = clean_stack.folder / "no-picture.jpg"
    path.write_text("words")
    job_id = send(sender, payload(path)).get(timeout=PATIENCE)["job_id"]
    with pytest.raises(RuntimeError, match=r"(unsupported_file|bad_image): .* Submit an image"):
        sender.AsyncResult(job_id).get(timeout=PATIENCE)


def test_a_held_job_has_the_state_held_and_is_not_ready(clean_stack: Stack, sender: Celery) -> None:
    clean_stack.sandbox.inject_faults({"call": "export", "action": "refuse", "code": 402})
    image = payload(clean_stack.image())
    job_id = send(sender, image).get(timeout=PATIENCE)["job_id"]
    result = sender.AsyncResult(job_id)
    wait_until(lambda: str(result.state) == "HELD", "the result to say that the job is held")
    assert not result.ready()
    assert result.info["reason"]["code"] == "plan"


def test_a_cancelled_job_is_revoked(clean_stack: Stack, sender: Celery) -> None:
    clean_stack.sandbox.inject_faults(
        {"call": "session", "action": "refuse", "code": 503, "times": 99}
    )
    image = payload(clean_stack.image())
    job_id = send(sender, image).get(timeout=PATIENCE)["job_id"]
    wait_until(lambda: clean_stack.job(job_id).number("tries") > 1, "the job to wait")
    clean_stack.ledger.cancel(job_id)
    clean_stack.wait_for(job_id, State.CANCELLED)
    with pytest.raises(TaskRevokedError):
        sender.AsyncResult(job_id).get(timeout=PATIENCE)
