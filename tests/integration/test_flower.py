"""Jobs in the real Flower, in a real browser: one row a job, which shows the truth."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from celery import Celery
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult

from tests.support.celery_apps import third_party
from tests.support.chromium import PROGRAM, Tab, chromium
from tests.support.processes import Process
from tests.support.stack import Stack
from tests.support.waiting import free_port, wait_until
from worker.ledger.model.states import State
from worker.ledger.model.submissions import NewJob

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed"),
]

JOBS = 30
ROWS = "[...document.querySelectorAll('#tasks-table tbody tr')].map(row => row.innerText)"


class Flower:
    """A process of `reelqueue flower`."""

    def __init__(self, stack: Stack) -> None:
        self._folder = stack.folder
        self._env = {
            **{key: value for key, value in stack.env.items() if key != "NEMO_TOKEN"},
            "FLOWER_UNAUTHENTICATED_API": "true",
        }
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"

    @contextmanager
    def running(self, log: str) -> Iterator[None]:
        """Run it until the end of a block; SIGTERM ends it."""
        database = self._folder / "var/flower/rq/flower"
        database.parent.mkdir(parents=True, exist_ok=True)
        process = Process(
            [
                *(sys.executable, "-m", "tasks.cli", "flower"),
                *(f"--port={self._port}", f"--db={database}"),
            ],
            self._folder / log,
            self._env,
        )
        try:
            wait_until(lambda: self.answers() or not process.alive, "Flower to answer")
            assert process.alive, process.text()
            yield
            process.terminate()
            process.wait()
        finally:
            process.stop()

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthcheck", trust_env=False).is_success
        except httpx.TransportError:
            return False

    def tasks(self) -> dict[str, Any]:
        """Return all rows by id."""
        answer = httpx.get(f"{self.url}/api/tasks?limit=1000", trust_env=False, timeout=30)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def row(self, job_id: str, state: str) -> dict[str, Any]:
        """Wait until a job is in a state, and return its row."""

        def is_there() -> bool:
            return bool(self.tasks().get(job_id, {}).get("state") == state)

        wait_until(is_there, f"{job_id} to be {state}", explain=lambda: self.tasks().get(job_id))
        answer = httpx.get(f"{self.url}/api/task/info/{job_id}", trust_env=False, timeout=30)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found


def shown(tab: Tab, search: str) -> list[str]:
    """Return the rows of the table that a search leaves."""
    # In one evaluation: the table may still be waiting for the rows of its first draw.
    tab.evaluate(
        "window.drawn = false;"
        "$('#tasks-table').one('draw.dt', () => { window.drawn = true });"
        f"$('#tasks-table').DataTable().search({search!r}).draw();"
    )
    wait_until(lambda: tab.evaluate("window.drawn"), "the table")
    found: list[str] = tab.evaluate(ROWS)
    return found


def submit_without_budget(stack: Stack, image: Path) -> str:
    """Submit a job that is held, because its batch may not spend anything."""
    stack.ledger.open_batch("sofas", "Sofas", stack.ledger.now_ms())
    stack.ledger.set_budget("sofas", 0)
    payload = {"image": str(image), "prompt": "a 1-second slow push-in"}
    stack.ledger.submit(NewJob(id="held", payload=payload, fingerprint="f", batch_id="sofas"))
    return "held"


@pytest.fixture
def app(stack: Stack) -> Iterator[Celery]:
    with third_party(stack.valkey.url) as app:
        yield app


def test_operators_find_jobs_by_picture_state_and_runtime(
    stack: Stack, app: Celery, tmp_path: Path
) -> None:
    stack.start_sandbox()
    flower = Flower(stack)

    def result(job_id: str) -> AsyncResult[Any]:
        return AsyncResult(job_id, app=app)

    with flower.running("flower.log"), chromium(tmp_path / "profile") as tab:
        tab.call("Page.enable")
        stack.start_worker()
        jobs = [stack.submit(stack.image(f"lamp-{n:02}.png"), prompt="SECRET") for n in range(JOBS)]
        (stack.folder / "broken.png").write_bytes(stack.image().read_bytes()[:60])
        broken = stack.submit(stack.folder / "broken.png")
        held = submit_without_budget(stack, stack.image("sofa.png"))
        stack.wait_until_idle()
        assert flower.row(held, "RETRY")["kwargs"] == "{'reason': 'budget'}"
        assert flower.row(broken, "FAILURE")["exception"].startswith("bad_image: broken.png")
        for job_id in jobs:
            flower.row(job_id, "SUCCESS")
        # A result is stored beside the event, and not before it.
        wait_until(lambda: str(result(held).state) == "HELD", "the held job's result")
        wait_until(lambda: result(broken).state == "FAILURE", "the failed job's result")
        assert not result(held).ready()

        tab.open(f"{flower.url}/tasks")
        (found,) = shown(tab, "lamp-07")
        assert "SUCCESS" in found
        assert "lamp-07.mp4" in found
        (found,) = shown(tab, "state:RETRY")
        assert "('sofa.png', 'Sofas')" in found
        assert "--max-credits CREDITS` with what the batch may spend" in found
        (found,) = shown(tab, "state:FAILURE")
        assert "broken.png" in found
        rows = flower.tasks()
        assert rows.keys() == {*jobs, broken, held}
        assert {row["name"] for row in rows.values()} == {"reelqueue.job"}
        assert "SECRET" not in str(rows)
        job = stack.job(jobs[0])
        assert rows[jobs[0]]["runtime"] == (job.finished_at - job.started_at) / 1000
        assert rows[jobs[0]]["worker"].startswith("w0@")

    # While Flower is away, the failed job is mended, and the held one cancelled.
    (stack.folder / "broken.png").write_bytes(stack.image().read_bytes())
    stack.ledger.retry(broken)
    stack.ledger.cancel(held)
    stack.wait_for(broken, State.SUCCEEDED)
    with flower.running("flower2.log"):
        assert flower.row(broken, "SUCCESS")["exception"] is None
        assert flower.row(held, "REVOKED")["runtime"] > 0
        assert flower.tasks().keys() == rows.keys(), "it has kept its rows"
        assert result(broken).get(timeout=60)["state"] == "succeeded"
        with pytest.raises(TaskRevokedError):
            result(held).get(timeout=60)
