"""One photo becomes one clip, through a real worker and HTTP."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.celery_apps import third_party
from tests.support.stack import TOKEN, Stack
from worker.ledger.model.states import State

pytestmark = pytest.mark.integration


def test_one_photo_becomes_one_clip(stack: Stack) -> None:
    """One session, upload, paid message and render are made, and all calls have all headers."""
    stack.start_sandbox("--silent-ratio", "0")
    worker = stack.start_worker()
    job_id = stack.submit(stack.image())
    job = stack.wait_for(job_id, State.SUCCEEDED, State.FAILED, State.HELD)
    assert job.state is State.SUCCEEDED, (job, worker.text())

    clip = json.loads(job.facts["clip"])
    film = stack.folder / "output" / clip["key"]
    assert film.stat().st_size == clip["bytes"]
    assert (clip["codec"], clip["height"]) == ("h264", 64)
    assert abs(clip["seconds"] - 1) < 0.5
    assert Path(film.with_suffix(".jpg")).exists()

    ledger = stack.sandbox.ledger()
    assert [len(ledger[kind]) for kind in ("sessions", "uploads", "messages", "renders")] == [
        1,
        1,
        1,
        1,
    ]
    assert all(request["headers_ok"] for request in ledger["requests"])
    assert TOKEN not in worker.text()
    assert TOKEN not in json.dumps(stack.redis.hgetall(f"job:{{rq}}:{job_id}"))


def test_polls_keep_their_interval(stack: Stack) -> None:
    # Long enough for three polls, however late a busy machine makes them. A quiet one makes ten,
    # after which a render counts as slow unless more are allowed.
    stack.start_sandbox("--render-seconds", "4")
    worker = stack.start_worker(REELQUEUE_RENDER_MAX_POLLS="100")
    stack.wait_for(stack.submit(stack.image()), State.SUCCEEDED)
    polls = stack.sandbox.ledger()["renders"][0]["polls"]
    assert isinstance(polls, list)
    gaps = [later - earlier for earlier, later in pairwise(polls)]
    assert len(polls) > 2
    assert min(gaps) >= 0.3
    steps = worker.text().count("state=rendering")
    assert steps == 2, "the settling and the submission: polls are no steps of their own"


def test_async_result_returns_the_record(stack: Stack) -> None:
    """Any process with the same result backend can follow the job."""
    stack.start_sandbox()
    stack.start_worker()
    job_id = stack.submit(stack.image())
    with third_party(stack.valkey.url) as app:
        record = app.AsyncResult(job_id).get(timeout=120)
    assert record["state"] == "succeeded"
    assert record["paid_messages"] == 1
