"""Running a step: its claim, its lease and its commit."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from tasks.step.commits import retry_later
from tasks.step.runner import run_step
from tests.unit.tasks.conftest import ProducerHarness
from worker.ledger.ledger import Ledger
from worker.ledger.model.states import State
from worker.runtime.runtime import Runtime


def test_a_heartbeat_between_a_commit_and_its_reply_is_no_lost_lease(
    harness: ProducerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = Runtime.open(harness.producer.settings)
    monkeypatch.setattr("tasks.step.runner.get_runtime", lambda: runtime)
    job_id = harness.submit()
    runtime.ledger.due(1, room=1, admit=1)
    commit = Ledger.commit

    def committed(ledger: Ledger, *arguments: Any) -> bool:
        done = commit(ledger, *arguments)
        runtime.leases.heartbeat()
        return done

    monkeypatch.setattr(Ledger, "commit", committed)
    with capture_logs() as logs:
        assert run_step(job_id, {State.PREPARING: lambda step: retry_later(step, 0)}) == "preparing"
    assert [log["event"] for log in logs] == ["step done"]
