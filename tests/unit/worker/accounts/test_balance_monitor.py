"""The balance monitor beside a large backlog of held jobs."""

from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis
from redis.exceptions import RedisError
from structlog.testing import capture_logs

from config.settings import ApiSettings, RedisSettings, Settings, StorageSettings
from tests.support.valkey import Valkey
from tests.support.waiting import refusing_port
from tests.unit.conftest import OpenRuntime
from worker.accounts.balance_monitor import RELEASE_LIMIT
from worker.ledger.ledger import Ledger
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.model.submissions import NewJob
from worker.ledger.payments import PLAN_PROBE_MS, Payments
from worker.runtime.runtime import Runtime

HELD = 3000


@pytest.fixture
def runtime(valkey: Valkey, redis: Redis, tmp_path: Path, open_runtime: OpenRuntime) -> Runtime:
    """A worker's parts, with one account whose balance was just read as too low."""
    redis.ping()
    runtime = open_runtime(
        Settings(
            api=ApiSettings(
                url=f"http://127.0.0.1:{refusing_port()}",
                tokens=(SecretStr("nmv_usr_poor_account"),),
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


def hold_for_credits(runtime: Runtime, number: int, reason: Reason = Reason.CREDITS) -> None:
    """Submit jobs, and hold each for lack of credits, or for another reason."""
    ledger, (account,) = runtime.ledger, runtime.accounts.names()
    for n in range(number):
        ledger.submit(NewJob(id=f"j{n}", payload={}, fingerprint="f"))
    held = Commit(State.HELD, reason=reason, resume=State.PREPARING, facts={"account": account})
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


def test_all_jobs_continue_once_their_token_works_again(runtime: Runtime) -> None:
    """However many there are, and if the worker that read the balance died just after it."""
    hold_for_credits(runtime, RELEASE_LIMIT + 20, Reason.TOKEN)
    ledger, (account,) = runtime.ledger, runtime.accounts.names()
    runtime.payments.record_token_refused(account, by="balance")
    ledger.redis.hset(ledger.key("account", account), "read_at", 1)
    runtime.balance_monitor.run_once()
    assert ledger.held_count(Reason.TOKEN) == RELEASE_LIMIT + 20, "the API does not answer"
    runtime.payments.record_balance(
        account, read_at=ledger.now_ms(), available=50, frozen=0, total=50
    )
    runtime.balance_monitor.run_once()
    runtime.balance_monitor.run_once()
    assert ledger.held_count(Reason.TOKEN) == 0


def test_a_job_that_is_refused_while_the_token_works_stays_held(runtime: Runtime) -> None:
    """Its session may belong to another account: it would be refused again and again."""
    ledger, (account,) = runtime.ledger, runtime.accounts.names()
    hold_for_credits(runtime, 1, Reason.TOKEN)
    runtime.payments.record_token_refused(account, by="job")
    runtime.payments.record_balance(
        account, read_at=ledger.now_ms(), available=50, frozen=0, total=50
    )
    runtime.balance_monitor.run_once()
    assert ledger.held_count(Reason.TOKEN) == 1


def hold_for_plan(runtime: Runtime, *, paid: int, unpaid: int) -> None:
    """Hold jobs because of their account's plan: some have a draft, others have not paid."""
    ledger, (account,) = runtime.ledger, runtime.accounts.names()
    for n in range(paid):
        ledger.submit(NewJob(id=f"paid{n}", payload={}, fingerprint="f"))
    for n in range(unpaid):
        ledger.submit(NewJob(id=f"unpaid{n}", payload={}, fingerprint="f"))
    for job_id, _ in ledger.due(99, room=99, admit=99):
        is_paid = job_id.startswith("paid")
        held = Commit(
            State.HELD,
            reason=Reason.PLAN,
            resume=State.RENDERING if is_paid else State.PREPARING,
            facts={"account": account, "draft": "{}" if is_paid else ""},
        )
        assert ledger.commit(job_id, ledger.claim(job_id, "w", job_id).fence, held)
    runtime.payments.record_plan_refused(account)


def test_the_plan_is_probed_by_the_export_of_one_paid_job_at_growing_intervals(
    runtime: Runtime,
) -> None:
    hold_for_plan(runtime, paid=2, unpaid=5)
    (account,), ledger = runtime.accounts.names(), runtime.ledger
    assert not runtime.accounts.can_take(ledger.account(account))
    runtime.balance_monitor.run_once()
    assert ledger.held_count(Reason.PLAN) == 7, "it is too early to try"
    waits = []
    for left in (6, 5, 5):
        ledger.redis.hset(ledger.key("account", account), "plan_probe_at", 1)
        runtime.balance_monitor.run_once()
        runtime.balance_monitor.run_once()
        assert ledger.held_count(Reason.PLAN) == left
        waits.append(ledger.account(account).plan_probe_at - ledger.now_ms())
    assert waits[1] > 1.5 * waits[0], "the interval doubles"
    assert {job.id[:4] for job in ledger.jobs(ledger.held_ids(Reason.PLAN))} == {"unpa"}


def test_all_jobs_continue_once_an_export_has_succeeded(runtime: Runtime) -> None:
    hold_for_plan(runtime, paid=1, unpaid=5)
    (account,) = runtime.accounts.names()
    runtime.payments.clear_plan_refused(account)
    runtime.balance_monitor.run_once()
    assert runtime.ledger.held_count(Reason.PLAN) == 0


def test_a_plan_that_allows_exports_again_is_noted_with_the_jobs_to_resume(
    runtime: Runtime,
) -> None:
    """Both or none: a worker that dies between them would leave the jobs held."""
    hold_for_plan(runtime, paid=1, unpaid=5)
    ledger, (account,) = runtime.ledger, runtime.accounts.names()
    redis, address = ledger.redis, ledger.redis.connection_pool.connection_kwargs
    redis.acl_setuser("half", True, passwords=["+p"], keys="*", commands=["+@all", "-hset"])
    half = Redis(
        host=address["host"],
        port=address["port"],
        username="half",
        password="p",
        decode_responses=True,
    )
    try:
        limited = Payments(Ledger(half, ledger.namespace, lease_seconds=30))
        with pytest.raises(RedisError):
            limited.clear_plan_refused(account)
    finally:
        half.close()
        redis.acl_deluser("half")
    assert ledger.account(account).plan_refused, "the next export tries again"


def test_a_second_refusal_of_the_plan_begins_with_the_first_interval(runtime: Runtime) -> None:
    ledger, (account,) = runtime.ledger, runtime.accounts.names()
    runtime.payments.record_plan_refused(account)
    for _ in range(4):
        runtime.payments.postpone_plan_probe(account)
    runtime.payments.clear_plan_refused(account)
    runtime.payments.postpone_plan_probe(account)  # by a worker that had read the account before
    runtime.payments.record_plan_refused(account)
    assert ledger.account(account).plan_probe_at <= ledger.now_ms() + PLAN_PROBE_MS


def test_no_message_is_paid_by_an_account_whose_plan_allows_no_export(runtime: Runtime) -> None:
    ledger, (account,) = runtime.ledger, runtime.accounts.names()
    runtime.payments.record_balance(
        account, read_at=ledger.now_ms(), available=900, frozen=0, total=900
    )
    ledger.submit(NewJob(id="j", payload={}, fingerprint="f"))
    ledger.due(1, room=1, admit=1)
    fence = ledger.claim("j", "w", "n").fence
    ledger.update_facts("j", fence, {"account": account})
    runtime.payments.record_plan_refused(account)

    def begin() -> str:
        return runtime.payments.begin("j", fence, turn=1, call="c", cost=100, cap=5).verdict

    assert begin() == "PLAN"
    runtime.payments.clear_plan_refused(account)
    assert begin() == "OK"


def test_a_time_of_429s_is_logged_once_when_it_begins_and_once_when_it_ends(
    runtime: Runtime,
) -> None:
    (account,) = runtime.accounts.names()
    key = runtime.ledger.key("account", account)
    with capture_logs() as lines:
        for _ in range(3):
            runtime.payments.record_rate_limited(account, 60)
            runtime.balance_monitor.run_once()
        runtime.ledger.redis.hset(key, "cooling_until", 1)
        runtime.balance_monitor.run_once()
        runtime.ledger.redis.hdel(key, "refusals")
        for _ in range(2):
            runtime.balance_monitor.run_once()
    events = [line["event"] for line in lines if "rate limited" in line["event"]]
    assert events == ["account is rate limited (429)", "account is no longer rate limited"]
