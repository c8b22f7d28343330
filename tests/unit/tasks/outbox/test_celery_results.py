"""The Celery result of a job that stopped and continues."""

from collections.abc import Iterator

import pytest
from celery import Celery
from celery.result import AsyncResult

from config.celery import celery_config
from tasks.outbox.notifications import notify
from tests.support.celery_apps import closing_results
from tests.support.ledger_access import due_notifications
from worker.broker.result_backend import RESULT_BACKENDS
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.model.submissions import NewJob
from worker.runtime.runtime import Runtime

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")


@pytest.fixture
def app(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    """The app of the worker."""
    app = Celery("results", set_as_current=False)
    app.loader.override_backends = RESULT_BACKENDS
    app.config_from_object(celery_config(runtime.settings))
    monkeypatch.setattr("tasks.outbox.notifications.current_app", app)
    with closing_results(app):
        yield app


def stop_job(runtime: Runtime, end: Commit) -> None:
    """Submit a job and commit the end of its step."""
    ledger = runtime.ledger
    ledger.submit(NewJob(id="j", payload={"image": "a"}, fingerprint="f"))
    ledger.due(1, room=1, admit=1)
    assert ledger.commit("j", ledger.claim("j", "w", "n").fence, end)


def deliver(runtime: Runtime) -> None:
    """Deliver the notification of the job, which must be there."""
    assert due_notifications(runtime.ledger) == ["job:j"]
    notify("job:j")
    assert due_notifications(runtime.ledger) == []


def stored(app: Celery) -> tuple[str, str | None]:
    """Return the state of the job as Celery has it, and the stage of its progress."""
    result: AsyncResult[object] = AsyncResult("j", app=app)
    info = result.info
    return result.state, info.get("stage") if isinstance(info, dict) else None


def test_a_failed_job_that_is_retried_is_in_progress_again(runtime: Runtime, app: Celery) -> None:
    """Otherwise a caller that waits for the job again would get its old exception."""
    stop_job(runtime, Commit(State.FAILED, reason=Reason.BAD_IMAGE))
    deliver(runtime)
    assert stored(app) == ("FAILURE", None)
    assert runtime.ledger.retry("j") == "OK"
    deliver(runtime)
    assert stored(app) == ("PROGRESS", "queued")


def test_a_held_job_that_is_released_is_in_progress_again(runtime: Runtime, app: Celery) -> None:
    stop_job(runtime, Commit(State.HELD, reason=Reason.CREDITS, resume=State.PREPARING))
    deliver(runtime)
    assert stored(app) == ("HELD", None)
    assert runtime.ledger.release("j") == "OK"
    deliver(runtime)
    assert stored(app) == ("PROGRESS", "queued")


def test_a_late_delivery_of_an_older_state_is_followed_by_another(runtime: Runtime) -> None:
    """The late delivery has overwritten the newer state, whose own entry was removed."""
    stop_job(runtime, Commit(State.HELD, reason=Reason.CREDITS, resume=State.PREPARING))
    ledger = runtime.ledger
    ledger.release("j")
    ledger.acknowledge_notifications([("job:j", 2)])
    assert due_notifications(ledger) == []
    ledger.acknowledge_notifications([("job:j", 1)])
    assert due_notifications(ledger) == ["job:j"]


def test_one_task_delivers_the_results_of_several_jobs(runtime: Runtime, app: Celery) -> None:
    ledger = runtime.ledger
    for job_id in ("gone", "j"):
        ledger.redis.zadd(ledger.key("outbox"), {f"job:{job_id}": 1})
    stop_job(runtime, Commit(State.CANCELLED))
    entries = ledger.lease_notifications(9, 30)
    assert sorted(entries) == ["job:gone", "job:j"]
    assert ledger.lease_notifications(9, 30) == []
    assert sorted(notify(*entries).split()) == ["cancelled", "gone"]
    assert stored(app) == ("REVOKED", None)
    assert not ledger.redis.exists(ledger.key("outbox"))
