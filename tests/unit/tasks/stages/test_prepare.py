"""The credit check before an upload."""

from tasks.stages.prepare import MAX_BALANCE_AGE_MS, _check_credits
from tasks.step.credentials import job_credential
from tests.unit.tasks.stages.conftest import Worker
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit


def check(worker: Worker, *, seconds_old: float) -> Commit | None:
    """Check the credits of an account that had none at its last reading."""
    runtime, now = worker.runtime, worker.runtime.ledger.now_ms()
    key = runtime.ledger.key("account", worker.account)
    read_at = now - int(seconds_old * 1000)
    runtime.ledger.redis.hset(key, mapping={"available": 0, "base": 0, "read_at": read_at})
    step = worker.claim()
    credential = job_credential(step)
    with runtime.open_client(credential.token) as client:
        return _check_credits(step, client, credential, keeps_session=True)


def test_no_job_is_held_because_of_an_old_balance(worker: Worker) -> None:
    """Otherwise jobs that are released after their account was topped up would be held again."""
    assert check(worker, seconds_old=2 * MAX_BALANCE_AGE_MS / 1000) is None
    assert worker.runtime.ledger.account(worker.account).available == 900


def test_a_job_is_held_because_of_a_recent_balance(worker: Worker) -> None:
    held = check(worker, seconds_old=0)
    assert held is not None
    assert (held.state, held.reason) == (State.HELD, Reason.CREDITS)
    assert "had 0 credits left" in held.message
