"""Celery's events, where the broker goes away."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from celery import Celery

from tests.support.valkey import valkey_in_memory
from worker.broker.events import EVENTS, SingleAttemptDispatcher


@contextmanager
def dispatcher_without_broker(folder: Path) -> Iterator[SingleAttemptDispatcher]:
    with (
        valkey_in_memory(folder) as valkey,
        Celery(broker=valkey.url, events=EVENTS, set_as_current=False) as app,
        app.connection_for_write() as connection,
    ):
        # As with a connect timeout of a worker, but at once.
        connection.transport_options = {"max_retries": 0}
        dispatcher = app.events.Dispatcher(connection, hostname="w@test", enabled=True)
        dispatcher.send("worker-online")
        valkey.stop()
        yield dispatcher


def test_a_heartbeat_does_not_hold_up_the_end_of_its_dispatcher(tmp_path: Path) -> None:
    """Celery's own dispatcher repeats it forever, and holds the lock that its end needs."""
    with dispatcher_without_broker(tmp_path / "valkey") as dispatcher:
        heartbeat = Thread(
            target=dispatcher.send, args=("worker-heartbeat",), kwargs={"retry": True}, daemon=True
        )
        heartbeat.start()
        heartbeat.join(60)
        assert not heartbeat.is_alive()
        dispatcher.close()


def test_what_fails_is_kept_but_for_heartbeats(tmp_path: Path) -> None:
    with dispatcher_without_broker(tmp_path / "valkey") as dispatcher:
        dispatcher.send("worker-heartbeat")
        dispatcher.send("worker-offline")
        assert [routing_key for _, routing_key in dispatcher._outbound_buffer] == ["worker.offline"]
