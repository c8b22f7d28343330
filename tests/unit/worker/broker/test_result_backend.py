"""Storing Celery results from many threads at the same time, and publishing them to clients."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from celery import Celery, states
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult, GroupResult

from tests.support.celery_apps import closing_results, third_party
from tests.support.costs import commands_by_name
from tests.support.valkey import Valkey
from tests.support.waiting import wait_until
from worker.broker.result_backend import MAX_CONNECTIONS, RESULT_BACKENDS

PREFIX = "celery-task-meta-"


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


@pytest.mark.parametrize(
    ("stored", "is_replaced"),
    [
        (None, True),
        ("PROGRESS", True),
        ("HELD", False),
        (states.FAILURE, False),
        (states.REVOKED, False),
        (states.SUCCESS, False),
    ],
)
def test_late_progress_replaces_nothing_but_progress(
    app: Celery, stored: str | None, is_replaced: bool
) -> None:
    """Otherwise a frozen worker would hide the end of a job from those who wait for it."""
    job_id, backend = f"late-{stored}", cast("Any", app.backend)
    if stored:
        value: object = {"value": 1}
        if stored in states.EXCEPTION_STATES:
            value = TaskRevokedError("cancelled")
        backend.store_result(job_id, value, stored)
    assert backend.store_progress(job_id, {"stage": "generating"}) is is_replaced
    found: AsyncResult[object] = AsyncResult(job_id, app=app)
    assert found.state == ("PROGRESS" if is_replaced else stored)
    if is_replaced:
        assert found.info == {"stage": "generating"}
        ttl = backend.client.ttl(backend.get_key_for_task(job_id))
        assert 0 < ttl <= app.conf.result_expires.total_seconds()


@pytest.mark.parametrize("late", ["HELD", states.FAILURE, states.REVOKED, "PROGRESS"])
@pytest.mark.parametrize("newer", [states.SUCCESS, states.FAILURE, "HELD"])
def test_the_result_of_an_earlier_revision_replaces_none_of_a_later_one(
    app: Celery, late: str, newer: str
) -> None:
    """Its worker was frozen, while the job continued and another worker stored the next result."""

    def store(state: str, revision: int) -> None:
        value: object = {"revision": revision}
        if state in states.EXCEPTION_STATES:
            value = TaskRevokedError(str(revision))
        backend.store_job_result(job_id, value, state, revision)

    job_id, backend = f"{late}-before-{newer}", cast("Any", app.backend)
    store("PROGRESS", 1)
    store(newer, 3)
    before = backend.client.get(backend.get_key_for_task(job_id))
    store(late, 2)
    assert backend.client.get(backend.get_key_for_task(job_id)) == before
    if newer != states.SUCCESS:
        store(late, 4)
        assert AsyncResult(job_id, app=app).state == late


def test_a_result_is_published_once_if_it_is_stored_and_never_otherwise(
    app: Celery, valkey: Valkey
) -> None:
    with valkey.client() as owner, owner.pubsub(ignore_subscribe_messages=True) as channels:
        channels.psubscribe(f"{PREFIX}*")
        for state in ("PROGRESS", "HELD", "HELD", states.SUCCESS, "PROGRESS", states.REVOKED):
            result: object = TaskRevokedError("late") if state == states.REVOKED else {}
            app.backend.store_result("published", result, state)
        owner.publish(f"{PREFIX}end", '{"status": "END"}')
        published: list[str] = []
        while published[-1:] != ["END"]:
            message = channels.get_message(timeout=60)
            published += [json.loads(message["data"])["status"]] if message else []
    assert published == ["PROGRESS", "HELD", "HELD", states.SUCCESS, "END"]


def single(app: Celery, ids: list[str]) -> AsyncResult[object]:
    return AsyncResult(ids[0], app=app)


def chain(app: Celery, ids: list[str]) -> AsyncResult[object]:
    return AsyncResult(ids[1], app=app, parent=AsyncResult(ids[0], app=app))


def group(app: Celery, ids: list[str]) -> GroupResult:
    return GroupResult("group", [AsyncResult(each, app=app) for each in ids], app=app)


@pytest.mark.parametrize("progress", [[], ["PROGRESS", "HELD"]])
@pytest.mark.parametrize("end", [states.SUCCESS, states.FAILURE])
@pytest.mark.parametrize("waiting", [single, chain, group])
def test_waiting_clients_receive_the_end(
    app: Celery,
    valkey: Valkey,
    progress: list[str],
    end: str,
    waiting: Callable[[Celery, list[str]], Any],
) -> None:
    ids = [f"{waiting.__name__}-{end}-{len(progress)}-{name}" for name in "ab"]

    def wait() -> object:
        with third_party(valkey.url) as client:
            backend: Any = client.backend
            try:
                return waiting(client, ids).get(timeout=60)
            except ValueError as error:
                return str(error)
            finally:
                # Results unsubscribe when they are collected, perhaps after the server's end.
                for each in ids:
                    backend.result_consumer.cancel_for(each)
                backend.result_consumer.stop()

    with valkey.client() as owner, ThreadPoolExecutor(1) as threads:
        waited = threads.submit(wait)
        channel = PREFIX + (ids[0] if waiting is single else ids[1])
        wait_until(lambda: owner.pubsub_numsub(channel)[0][1], "the client to subscribe")
        for each in ids:
            for state in progress:
                app.backend.store_result(each, {}, state)
            value = {"job_id": each} if end == states.SUCCESS else ValueError("failed")
            app.backend.store_result(each, value, end)
        found = waited.result(timeout=60)
    values = [{"job_id": each} for each in ids]
    successes = {"single": values[0], "chain": values[1], "group": values}
    assert found == ("failed" if end == states.FAILURE else successes[waiting.__name__])
