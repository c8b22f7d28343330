"""The context of a step, and how it carries out decisions of the policy."""

import pytest

from tasks.step.context import LeaseLostError, StepClock, StepContext
from tasks.step.decisions import apply_decision
from tests.unit.tasks.conftest import ProducerHarness
from worker.ledger.model.states import State
from worker.nemo.errors import Call, SessionNotFound
from worker.policy import Action, Decision
from worker.runtime.leases import Lease
from worker.runtime.runtime import Runtime

ERROR = SessionNotFound(Call.UPLOAD)


def context(harness: ProducerHarness, job_id: str, fence: str) -> StepContext:
    job = harness.producer.ledger.job(job_id)
    assert job is not None
    runtime = Runtime.open(harness.producer.settings)
    return StepContext(runtime, job, Lease(job_id, fence, 0, 0), StepClock(runtime.ledger.now_ms()))


@pytest.fixture
def step(harness: ProducerHarness) -> StepContext:
    """A step of a job that is preparing."""
    job_id = harness.submit()
    return context(harness, job_id, harness.claim(job_id))


def test_a_step_sees_the_facts_that_it_has_written(step: StepContext) -> None:
    step.update_facts(session_id="s", uploading="1")
    step.update_facts(uploading="")
    assert (step.job.fact("session_id"), step.job.fact("uploading")) == ("s", None)


def test_a_step_without_its_lease_writes_no_facts(step: StepContext) -> None:
    step.lease.fence = "2:n"
    with pytest.raises(LeaseLostError):
        step.update_facts(session_id="s")
    assert step.job.fact("session_id") is None


@pytest.mark.parametrize("action", [Action.NEW_SESSION, Action.NEW_ACCOUNT, Action.NEW_TOKEN])
def test_an_unpaid_job_prepares_again_without_its_session(
    step: StepContext, action: Action
) -> None:
    step.update_facts(session_id="s", uploaded="1")
    commit = apply_decision(step, Decision(action), ERROR, step.clock.now_ms())
    assert commit.state is State.PREPARING
    assert commit.facts is not None
    assert (commit.facts["session_id"], commit.facts["uploaded"]) == ("", "")
    assert commit.facts["tries"] == "1"


@pytest.mark.parametrize("action", [Action.NEW_SESSION, Action.NEW_TOKEN])
def test_a_paid_job_stays_in_its_session(harness: ProducerHarness, action: Action) -> None:
    job_id = harness.submit()
    harness.begin_payment(job_id)
    step = context(harness, job_id, "1:n")
    assert step.job.is_bound
    commit = apply_decision(step, Decision(action, delay=2), ERROR, step.clock.now_ms())
    assert commit.state is step.job.state
    assert "session_id" not in (commit.facts or {})
