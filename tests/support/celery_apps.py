"""Celery apps of the tests, which leave no connections and no current app to other tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery


@contextmanager
def closing_results(app: Celery) -> Iterator[Celery]:
    """Close the connections of an app's result backend at the end, which ``Celery.close`` leaves.

    Otherwise the garbage collector finds them open, in whatever test runs then. It also finds
    results, each of which unsubscribes then, on a server that may have ended.
    """
    try:
        with app:
            yield app
    finally:
        backend: Any = app.backend
        backend.result_consumer.stop()
        backend.result_consumer.subscribed_to.clear()
        backend.client.connection_pool.disconnect()


@contextmanager
def third_party(url: str, backend: str | None = None) -> Iterator[Celery]:
    """An app without code of this project. Its results are on the broker, or on ``backend``."""
    app = Celery("third_party", broker=url, backend=backend or url, set_as_current=False)
    with closing_results(app):
        yield app
