"""All workers share one anonymous token, and jobs go to accounts that can pay for them."""

import threading
from typing import Any

import pytest
from pydantic import SecretStr
from redis import Redis

from config.settings import ApiSettings, Settings
from tests.support.commands import run_reelqueue
from tests.support.stack import LEASE_SECONDS, TOKEN, Stack
from tests.support.waiting import wait_until
from worker.accounts.credentials import (
    ANONYMOUS,
    Accounts,
    Credential,
    TokenPendingError,
    account_tokens,
)
from worker.ledger.ledger import Ledger
from worker.ledger.model.states import Reason, State
from worker.runtime.runtime import client_factory
from worker.runtime.worker_registry import register_worker

pytestmark = pytest.mark.integration


def accounts(stack: Stack, **api: object) -> Accounts:
    """Return the accounts as one more worker would open them."""
    ledger = Ledger(
        Redis.from_url(stack.valkey.url, decode_responses=True), "rq", lease_seconds=LEASE_SECONDS
    )
    settings = Settings(api=ApiSettings.model_validate({"url": stack.sandbox.url, **api}))
    return Accounts(settings, ledger, client_factory(settings))


def test_fifty_workers_that_start_together_request_one_token(stack: Stack) -> None:
    stack.start_sandbox()
    got: list[Credential] = []
    start = threading.Barrier(50)

    def worker() -> None:
        mine = accounts(stack, tokens=())

        def ask() -> bool:
            try:
                got.append(mine.credential(mine.choose()))
            except TokenPendingError:
                return False
            return True

        start.wait()
        wait_until(ask, "a token")

    threads = [threading.Thread(target=worker) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({credential.token_id for credential in got}) == 1
    tokens = [r for r in stack.sandbox.ledger()["requests"] if r["call"] == "token"]
    assert len(tokens) == 1


def test_an_anonymous_token_is_kept_to_its_end(stack: Stack) -> None:
    """While it lives, the API gives no second token for the client ID."""
    stack.start_sandbox("--token-seconds", "600000")
    accounts(stack, tokens=()).credential(stack.ledger.account(ANONYMOUS))
    assert stack.redis.pttl("token:{rq}") > 590_000_000


def test_a_job_is_left_to_the_worker_that_has_its_token(stack: Stack) -> None:
    """A rolling deployment adds a token: only some of the workers have it."""
    stack.start_sandbox("--account", "nmv_usr_second=1000000")
    stack.start_worker(NEMO_TOKEN="nmv_usr_second")
    stack.start_worker()
    used: set[str | None] = set()

    def use_both() -> bool:
        jobs = [stack.submit(stack.image()) for _ in range(8)]
        ended = [stack.wait_for(job, State.SUCCEEDED, State.HELD) for job in jobs]
        assert {job.state for job in ended} == {State.SUCCEEDED}
        used.update(job.fact("account") for job in ended)
        return len(used) == 2

    # A worker that has just registered may not yet take jobs, and the first one takes all.
    wait_until(use_both, "jobs of both workers")


def test_a_refused_token_is_renewed_with_the_same_client_id(stack: Stack) -> None:
    stack.start_sandbox("--token-seconds", "0.001")
    mine = accounts(stack, tokens=())
    old = mine.credential(mine.choose())
    client_id = stack.redis.get("client_id:{rq}")
    mine.discard_anonymous_token(old.token_id)
    new = mine.credential(mine.choose())
    assert new.token_id != old.token_id
    assert (new.name, stack.redis.get("client_id:{rq}")) == (ANONYMOUS, client_id)
    mine.discard_anonymous_token(old.token_id)
    assert mine.credential(stack.ledger.account(ANONYMOUS)).token_id == new.token_id, (
        "a token that was renewed is not discarded"
    )


def test_the_token_lives_in_one_key_and_never_in_a_repr(stack: Stack) -> None:
    stack.start_sandbox()
    credential = accounts(stack, tokens=()).credential(stack.ledger.account(ANONYMOUS))
    secret = credential.token.get_secret_value()
    assert secret not in repr(credential)
    holders = [
        key
        for key in stack.redis.scan_iter("*")
        if stack.redis.type(key) == "string" and secret in str(stack.redis.get(key))
    ]
    assert holders == ["token:{rq}"]


def test_a_held_job_continues_after_a_valid_token_is_set(stack: Stack) -> None:
    """Follow the remedy of a job that is held because its token was refused."""
    stack.start_sandbox()
    worker = stack.start_worker(NEMO_TOKEN="nmv_usr_not_valid")
    job_id = stack.submit(stack.image())
    job = stack.wait_for(job_id, State.HELD, State.SUCCEEDED, State.FAILED)
    assert (job.reason, job.paid_messages) == (Reason.TOKEN, 0)
    worker.kill()
    stack.start_worker()
    assert stack.ledger.release(job_id) == "OK"
    job = stack.wait_for(job_id, State.SUCCEEDED)
    assert job.fact("account") != "anonymous"


def test_jobs_held_for_credits_of_a_removed_account_use_the_configured_one(
    stack: Stack,
) -> None:
    poor = "nmv_usr_poor"
    stack.start_sandbox("--account", f"{poor}=50")
    worker = stack.start_worker(NEMO_TOKEN=poor)
    job_id = stack.submit(stack.image())
    job = stack.wait_for(job_id, State.HELD)
    assert job.reason is Reason.CREDITS
    worker.kill()
    stack.start_worker()
    job = stack.wait_for(job_id, State.SUCCEEDED)
    assert sum(stack.messages_by_image().values()) == 1


def test_doctor_asks_the_api_about_each_token(stack: Stack) -> None:
    stack.start_sandbox()
    register_worker(stack.ledger, "w", 10, 60)
    good, bad = account_tokens(
        Settings(api=ApiSettings(tokens=(SecretStr(TOKEN), SecretStr("nmv_usr_unknown"))))
    )

    def token_check(tokens: str) -> tuple[int, dict[str, Any]]:
        answer = run_reelqueue("doctor", "--json", env={**stack.env, "NEMO_TOKEN": tokens})
        (found,) = [record for record in answer.records if record["check"] == "token"]
        assert "nmv_usr" not in answer.out
        return answer.code, found

    code, found = token_check(TOKEN)
    assert (code, found["ok"], found["remedy"]) == (0, True, None)
    assert f"{good} is accepted, 1e+06 credits available" in found["found"]
    code, found = token_check(f"{TOKEN},nmv_usr_unknown")
    assert (code, found["ok"]) == (3, False)
    assert f"{bad} is refused" in found["found"]
    assert bad in found["remedy"]
    assert good not in found["remedy"]
