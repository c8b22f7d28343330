"""The first step after settling submits the render. Later steps first look for the render."""

import pytest

from tasks.stages.render import first_render, render
from tests.support.api_responses import envelope
from tests.unit.tasks.stages.conftest import Worker
from tests.unit.worker.loopback_server import Server, json_reply
from worker.ledger.model.states import State
from worker.ledger.model.steps import Commit

EXPORT = "/api/render/proxy/lambda"


@pytest.fixture
def settled(worker: Worker, server: Server) -> Worker:
    """A worker whose job has a draft, and the id of its first render."""
    server.on(f"POST {EXPORT}", json_reply(envelope(), status=200))
    step = worker.claim()
    worker.pay(step)
    worker.commit(step, Commit(State.SETTLING))
    step = worker.claim()
    facts = {"draft": "{}", **first_render(step)}
    worker.commit(step, Commit(State.RENDERING, outcome="done", facts=facts))
    return worker


def asked(worker: Worker, server: Server) -> list[str]:
    """Run a step that renders, and return the methods of its requests."""
    server.requests.clear()
    worker.commit(step := worker.claim(), render(step))
    return [request.method for request in server.requests if request.path.startswith(EXPORT)]


def test_the_first_step_submits_without_looking(settled: Worker, server: Server) -> None:
    assert asked(settled, server) == ["POST"]


def test_a_later_step_looks_first(settled: Worker, server: Server) -> None:
    step = settled.claim()
    render_id = step.job.facts["render_id"]
    settled.commit(step, Commit(State.RENDERING))
    server.on(f"GET {EXPORT}/{render_id}", json_reply({"status": "completed", "output": None}))
    assert asked(settled, server) == ["GET"]
    assert settled.state() is State.DELIVERING
