"""What a job without trouble costs Redis: counts, which no other load changes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from PIL import Image
from pydantic import SecretStr
from redis import Redis

from config.celery import celery_config
from config.settings import ApiSettings, Settings
from tasks.stages.celery_tasks import run_job_step
from tests.support.celery_apps import closing_results
from tests.support.costs import RedisCost, redis_cost
from tests.support.processes import Sandbox
from tests.support.waiting import wait_until
from tests.unit.conftest import OpenRuntime
from worker.broker.result_backend import RESULT_BACKENDS
from worker.ledger.model.states import State
from worker.ledger.model.submissions import NewJob
from worker.runtime.runtime import Runtime

TOKEN = "nmv_usr_registered_for_tests"
MAX_COMMANDS = 155
MAX_SCRIPTS = 15
"""Upper bounds for all steps of a job, with one poll, and for its Celery results."""


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """The stand-in of the video API, which answers at once."""
    running = Sandbox(
        tmp_path / "sandbox",
        *("--account", f"{TOKEN}=1000000", "--stream-seconds", "0.1", "--heartbeat-seconds", "1"),
        *("--render-seconds", "0", "--clip-height", "96"),
    )
    yield running
    running.stop()


@pytest.fixture
def runtime(
    redis: Redis,
    settings: Settings,
    sandbox: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    open_runtime: OpenRuntime,
) -> Iterator[Runtime]:
    """A worker's parts, without its periodic work."""
    redis.ping()
    api = ApiSettings(url=sandbox.url, tokens=(SecretStr(TOKEN),))
    storage = settings.storage.model_copy(update={"media_roots": (tmp_path,)})
    timing = settings.timing.model_copy(update={"render_poll_seconds": 0.1})
    runtime = open_runtime(
        settings.model_copy(update={"api": api, "storage": storage, "timing": timing})
    )
    monkeypatch.setattr("tasks.step.runner.get_runtime", lambda: runtime)
    monkeypatch.setattr("tasks.outbox.notifications.get_runtime", lambda: runtime)
    # Celery's current app is that of the last test which made one.
    app = Celery("costs", set_as_current=False)
    app.loader.override_backends = RESULT_BACKENDS
    app.config_from_object(celery_config(settings))
    for module in "tasks.outbox.notifications", "tasks.step.progress":
        monkeypatch.setattr(f"{module}.current_app", app)
    with closing_results(app):
        yield runtime


def end_job(runtime: Runtime, sandbox: Sandbox, job_id: str, picture: Path) -> RedisCost:
    """Run all steps of a job, and return what they cost, without the waits between them."""
    ledger = runtime.ledger
    payload = {"image": str(picture), "prompt": "a 1-second slow push-in", "language": "en"}
    ledger.submit(NewJob(id=job_id, payload=payload, fingerprint=job_id))
    before = redis_cost(ledger.redis)
    reading = redis_cost(ledger.redis).since(before)
    cost, steps = RedisCost(0, 0, 0, 0, 0), 0

    def due() -> bool:
        nonlocal before
        before = redis_cost(ledger.redis)
        return bool(ledger.due(1, room=1, admit=1))

    def state() -> State:
        job = ledger.job(job_id)
        assert job is not None
        return job.state

    def is_rendered() -> bool:
        return all(render["status"] == "completed" for render in sandbox.ledger()["renders"])

    while not state().is_end:
        wait_until(is_rendered, "the render to be complete")
        wait_until(due, "a step to be due")
        run_job_step(job_id)
        cost = cost.plus(redis_cost(ledger.redis).since(before).since(reading))
        steps += 1
    assert (state(), steps) == (State.SUCCEEDED, 2)
    assert ledger.lease_notifications(1, 30) == []
    return cost


def test_a_job_takes_few_commands_scripts_and_connections(
    runtime: Runtime, sandbox: Sandbox, tmp_path: Path
) -> None:
    costs = []
    for number in range(2):
        picture = tmp_path / f"photo-{number}.png"
        Image.new("RGB", (64, 64), (90, 20 + number, 30)).save(picture)
        costs.append(end_job(runtime, sandbox, f"job-{number}", picture))
    # The first one loads the scripts and opens the connections.
    cost = costs[-1]
    assert cost.commands <= MAX_COMMANDS, cost
    assert cost.scripts <= MAX_SCRIPTS, cost
    assert cost.publishes <= 2, cost
    assert cost.connections == 0, cost
