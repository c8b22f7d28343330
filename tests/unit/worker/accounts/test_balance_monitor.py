"""The balance monitor beside a large backlog of held jobs."""

from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis

from config.settings import ApiSettings, RedisSettings, Settings, StorageSettings
from tests.support.valkey import Valkey
from tests.support.waiting import free_port
from worker.ledger.ledger import Commit
from worker.ledger.model.states import Reason, State
from worker.ledger.model.submissions import NewJob
from worker.runtime.runtime import Runtime

HELD = 3000


@pytest.fixture
def runtime(valkey: Valkey, redis: Redis, tmp_path: Path) -> Runtime:
    """A worker's parts, with one account whose balance was just read as too low."""
    redis.ping()
    runtime = Runtime.open(
        Settings(
            api=ApiSettings(
                url=f"http://127.0.0.1:{free_port()}", tokens=(SecretStr("nmv_usr_poor_account"),)
            ),
            redis=RedisSettings(url=SecretStr(valkey.url)),
            storage=StorageSettings(
                media_url=(tmp_path / "m").as_uri(), output_url=(tmp_path / "o").as_uri()
            ),
        )
    )
    (account,) = runtime.accounts.names()
    runtime.payments.record_balance(
        account, read_at=runtime.ledger.now_ms(), available=50, frozen=0, total=50
    )
    return runtime


def hold_for_credits(runtime: Runtime, number: int) -> None:
    """Submit jobs, and hold each for lack of credits."""
    ledger, (account,) = runtime.ledger, runtime.accounts.names()
    for n in range(number):
        ledger.submit(NewJob(id=f"j{n}", payload={}, fingerprint="f"))
    held = Commit(
        State.HELD, reason=Reason.CREDITS, resume=State.PREPARING, facts={"account": account}
    )
    for job_id, _ in ledger.due(number, room=number, admit=number):
        assert ledger.commit(job_id, ledger.claim(job_id, "w", job_id).fence, held)


def sent_bytes(redis: Redis) -> int:
    info = redis.info("stats")
    assert isinstance(info, dict)
    return int(info["total_net_output_bytes"])


def test_a_round_costs_the_same_however_many_jobs_are_held(runtime: Runtime, redis: Redis) -> None:
    hold_for_credits(runtime, HELD)
    before = sent_bytes(redis)
    runtime.balance_monitor.run_once()
    assert sent_bytes(redis) - before < 20_000, "ids of all held jobs would be more"
    assert runtime.ledger.held_count(Reason.CREDITS) == HELD


def test_as_many_jobs_are_resumed_as_the_balance_pays(runtime: Runtime) -> None:
    hold_for_credits(runtime, 20)
    (account,) = runtime.accounts.names()
    runtime.payments.record_balance(
        account, read_at=runtime.ledger.now_ms(), available=750, frozen=0, total=750
    )
    runtime.balance_monitor.run_once()
    assert runtime.ledger.held_count(Reason.CREDITS) == 13
