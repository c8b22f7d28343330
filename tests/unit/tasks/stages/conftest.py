"""A worker with one job, and the video API as a scripted server."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from redis import Redis

from config.settings import ApiSettings, Settings
from tasks.stages.settle import settle
from tasks.step.context import StepClock, StepContext
from tests.support.api_responses import envelope, state_envelope
from tests.unit.conftest import OpenRuntime
from tests.unit.worker.loopback_server import Server, json_reply, serving
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import State
from worker.ledger.model.steps import Commit
from worker.ledger.model.submissions import NewJob
from worker.runtime.leases import Lease
from worker.runtime.runtime import Runtime

SESSION = "s"


@pytest.fixture
def server() -> Iterator[Server]:
    """The video API: a project without a clip, and a balance."""
    with serving() as running:
        running.on(f"GET /api/state/nemo_agent/me/{SESSION}/latest", json_reply(state_envelope()))
        balance = {"available": 900, "frozen": 0, "total": 900}
        running.on("GET /api/credits/balance/simple", json_reply(envelope(**balance)))
        yield running


class Worker:
    """A worker with one job on an account with credits."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        (self.account,) = runtime.accounts.names()
        runtime.payments.record_balance(
            self.account, read_at=1, available=1000, frozen=0, total=1000
        )
        runtime.ledger.submit(NewJob(id="j", payload={"image": "cat.jpg"}, fingerprint="f"))

    def claim(self) -> StepContext:
        """Claim the job as soon as it is due."""
        ledger = self.runtime.ledger
        ledger.due(10, room=10, admit=10)
        ledger.redis.hset(ledger.key("job", "j"), "not_before", 0)
        fence = ledger.claim("j", "w", f"n{ledger.redis.incr('nonces')}").fence
        ledger.update_facts("j", fence, {"account": self.account, "session_id": SESSION})
        job = ledger.job("j")
        assert job is not None
        return self.context(job, fence)

    def context(self, job: Job, fence: str) -> StepContext:
        """The context of a step of a job that was claimed."""
        clock = StepClock(self.runtime.ledger.now_ms())
        return StepContext(self.runtime, job, Lease(job.id, fence, 0, 0), clock)

    def pay(self, step: StepContext, turn: int = 1, job_id: str = "j", attempt: int = 0) -> None:
        """Record a message that was sent long ago. Attempt 0 has no journal entry."""
        begun = self.runtime.payments.begin(
            job_id,
            step.lease.fence,
            turn=turn,
            call=f"{job_id}:{turn}:c",
            cost=100,
            cap=9,
            session_id=step.job.facts["session_id"],
            attempt=attempt,
        )
        assert begun.verdict == "OK"
        key = self.runtime.ledger.key("job", job_id)
        self.runtime.ledger.redis.hset(key, "sent_at", 1)

    def commit(self, step: StepContext, end: Commit) -> None:
        assert self.runtime.ledger.commit("j", step.lease.fence, end)

    def settle_until_held(self) -> Commit:
        """Settle until the job is held, and return the commit that holds it."""
        for _ in range(20):
            step = self.claim()
            end = settle(step)
            self.commit(step, end)
            if end.state is State.HELD:
                return end
        raise AssertionError("the job is not held")

    def job(self) -> Job:
        job = self.runtime.ledger.job("j")
        assert job is not None
        return job

    def state(self) -> State:
        return self.job().state


@pytest.fixture
def worker(redis: Redis, settings: Settings, server: Server, open_runtime: OpenRuntime) -> Worker:
    redis.ping()
    api = ApiSettings(url=server.url, tokens=(SecretStr("nmv_usr_t"),))
    return Worker(open_runtime(settings.model_copy(update={"api": api})))
