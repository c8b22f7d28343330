"""Storing Celery results from many threads at the same time."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from celery import Celery, states
from celery.result import AsyncResult

from tests.support.celery_apps import closing_results, third_party
from tests.support.costs import commands_by_name
from tests.support.valkey import Valkey
from worker.broker.result_backend import MAX_CONNECTIONS, RESULT_BACKENDS


@pytest.fixture
def app(valkey: Valkey) -> Iterator[Celery]:
    """An app with the backend of a worker, whose connections are closed at the end."""
    app = Celery(set_as_current=False)
    app.loader.override_backends = RESULT_BACKENDS
    app.conf.update(result_backend=valkey.url, result_backend_thread_safe=True)
    with closing_results(app):
        yield app


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # Celery's own
def test_results_are_stored_over_few_connections(app: Celery, valkey: Valkey) -> None:
    backend, names = app.backend, [f"job-{number}" for number in range(200)]
    with valkey.client() as owner, ThreadPoolExecutor(50) as threads:
        before = owner.info("stats")["total_connections_received"]
        for _ in threads.map(
            lambda name: backend.store_result(name, {"name": name}, states.SUCCESS), names
        ):
            pass
        opened = owner.info("stats")["total_connections_received"] - before
    assert 1 <= opened <= MAX_CONNECTIONS
    with third_party(valkey.url) as other:
        for name in names:
            assert other.AsyncResult(name).get(timeout=60) == {"name": name}


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # Celery's own
def test_only_a_success_replaces_a_success(app: Celery) -> None:
    backend = app.backend

    def stored() -> tuple[str, object]:
        found: AsyncResult[object] = AsyncResult("job", app=app)
        return found.state, found.result

    for state, value in (
        ("PROGRESS", {"stage": "generating"}),
        ("HELD", {"reason": "credits"}),
        (states.SUCCESS, {"clip": 1}),
        (states.SUCCESS, {"clip": 2}),
    ):
        backend.store_result("job", value, state)
        assert stored() == (state, value)
    backend.store_result("job", {"stage": "generating"}, "PROGRESS")
    assert stored() == (states.SUCCESS, {"clip": 2})


def test_the_first_result_of_a_job_and_its_success_are_stored_without_a_look(
    app: Celery, valkey: Valkey
) -> None:
    backend = app.backend
    with valkey.client() as owner:
        before = commands_by_name(owner)
        backend.store_result("new", {}, "PROGRESS")
        backend.store_result("new", {}, states.SUCCESS)
        after = commands_by_name(owner)
    added = {name: after[name] - before.get(name, 0) for name in after}
    assert (added["set"], added["publish"], added.get("get", 0)) == (2, 2, 0)
