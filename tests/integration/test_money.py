"""Credits, budgets, prices and rate limits, with real workers."""

import json
import re
from collections import Counter
from typing import Any

import pytest

from tests.support.ledger_access import submit_many
from tests.support.stack import LEASE_SECONDS, TOKEN, Stack
from tests.support.waiting import wait_until
from worker.ledger.ledger import LEASE_MARGIN_MS
from worker.ledger.model.states import Reason, State
from worker.ledger.model.submissions import NewJob

pytestmark = pytest.mark.integration

LEASE_AND_LEASE_MARGIN_MS = LEASE_SECONDS * 1000 + LEASE_MARGIN_MS


def batch(stack: Stack, name: str, size: int) -> list[str]:
    """Submit a batch of ``size`` pictures and seal it; return the IDs of the jobs."""
    stack.ledger.open_batch(name, name, stack.ledger.now_ms())
    job_ids = [f"{name}-{n}" for n in range(size)]
    jobs = [
        NewJob(
            id=job_id,
            payload={"image": str(stack.image(f"{job_id}.png", n)), "prompt": "a 1-second push-in"},
            fingerprint=job_id,
            batch_id=name,
            row=n,
        )
        for n, job_id in enumerate(job_ids)
    ]
    submit_many(stack.ledger, jobs)
    stack.ledger.seal_batch(name)
    return job_ids


def charged(stack: Stack) -> Counter[str]:
    """Return the number of charged messages of each account."""
    found = stack.sandbox.ledger()["messages"]
    return Counter(str(message["account"]) for message in found if message["charged"])


@pytest.mark.long
def test_a_batch_of_100_with_credits_for_37_is_held_and_continues_after_a_top_up(
    stack: Stack,
) -> None:
    stack.start_sandbox(credits_given=3700)
    stack.allow_in_flight(20)
    stack.start_worker()
    batch(stack, "spring", 100)
    # Messages are charged one after another: what a late reading of the balance frees is used, too.
    spent = {State.SUCCEEDED: 37, State.HELD: 63}
    stack.wait_for_counts(lambda counts: counts == spent, "the credits to be used up")
    found = stack.ledger.batch("spring")
    assert found is not None
    assert found.held_by == {Reason.CREDITS: 63}
    last = stack.job(stack.ledger.held_ids(Reason.CREDITS)[-1])
    assert re.search(r"had \d+ credits left, and a clip costs about 100", last.message)
    assert "Top up" in last.remedy
    stack.sandbox.top_up("account-1", 6300)
    stack.wait_for_counts(
        lambda counts: counts == {State.SUCCEEDED: 100},
        "the held jobs to continue without a command",
    )
    assert set(stack.messages_by_image().values()) == {1}
    assert charged(stack) == {"account-1": 100}


def test_jobs_reserve_the_observed_price_when_it_is_higher_than_expected(stack: Stack) -> None:
    """Clips cost 150 credits, and 100 were expected."""
    stack.start_sandbox("--price", "150", credits_given=1000)
    stack.start_worker()
    job_id = stack.submit(stack.image())
    stack.wait_for(job_id, State.SUCCEEDED)
    wait_until(lambda: stack.job(job_id).turns[0].charged, "its charge to be known")
    assert stack.job(job_id).turns[0].cost == 150
    batch(stack, "spring", 10)
    # What a late reading of the balance frees is used, too.
    spent = {State.SUCCEEDED: 6, State.HELD: 5}
    stack.wait_for_counts(lambda counts: counts == spent, "the credits to be used up")

    def account() -> tuple[float, float | None]:
        (found,) = stack.ledger.accounts()
        return found.estimate, found.available

    wait_until(lambda: account() == (150, 100), "the last balance", explain=account)
    refused = [m for m in stack.sandbox.ledger()["messages"] if m["outcome"] == "refused"]
    assert refused == [], "no message was refused for lack of credits"


def test_a_batch_stays_within_its_budget(stack: Stack) -> None:
    stack.start_sandbox()
    # Two jobs at a time: ten may all upload before the first of them pays.
    stack.start_worker(REELQUEUE_CONCURRENCY="2")
    stack.ledger.open_batch("spring", "spring", stack.ledger.now_ms())
    stack.redis.hset("batch:{rq}:spring", "max_credits", 450)
    batch(stack, "spring", 10)
    assert stack.wait_until_idle() == {State.SUCCEEDED: 4, State.HELD: 6}
    assert stack.ledger.counts()[1] == {Reason.BUDGET: 6}
    uploads = stack.sandbox.ledger()["uploads"]
    assert len(uploads) <= 6, "the budget is checked before the upload"


def test_a_release_after_the_token_was_replaced_renders_without_paying_again(stack: Stack) -> None:
    stack.start_sandbox()
    stack.sandbox.change_account("account-1", "scopes", render=False)
    worker = stack.start_worker()
    job_id = stack.submit(stack.image())
    job = stack.wait_for(job_id, State.HELD)
    assert (job.reason, bool(job.fact("draft"))) == (Reason.PLAN, True)
    worker.kill()
    stack.sandbox.change_account("account-1", "expire")
    stack.sandbox.change_account("account-1", "tokens", token="nmv_usr_of_a_better_plan")
    stack.sandbox.change_account("account-1", "scopes", render=True)
    # The session is found under the new token, although another token is listed first.
    stack.start_worker(NEMO_TOKEN="nmv_usr_of_somebody,nmv_usr_of_a_better_plan")
    assert stack.ledger.release(job_id) == "OK"
    job = stack.wait_for(job_id, State.SUCCEEDED)
    assert (job.paid_messages, charged(stack)) == (1, {"account-1": 1})


def test_jobs_of_an_anonymous_account_continue_after_its_registration(
    stack: Stack,
) -> None:
    stack.start_sandbox("--anonymous-credits", "150")
    worker = stack.start_worker(NEMO_TOKEN="")
    first = stack.submit(stack.image())
    assert stack.wait_for(first, State.HELD).reason is Reason.PLAN
    second = stack.wait_for(stack.submit(stack.image()), State.HELD)
    assert second.reason is Reason.CREDITS
    (session,) = stack.sandbox.ledger()["sessions"]
    assert f"/register?bind={session['task_id']}" in second.remedy
    worker.kill()
    stack.sandbox.change_account("anonymous-1", "tokens", token=TOKEN + "_bound")
    stack.sandbox.change_account("anonymous-1", "scopes", render=True)
    stack.sandbox.top_up("anonymous-1", 50)
    stack.start_worker(NEMO_TOKEN=TOKEN + "_bound")
    stack.wait_for(second.id, State.SUCCEEDED)
    assert stack.ledger.release(first) == "OK"
    stack.wait_for(first, State.SUCCEEDED)
    assert charged(stack) == {"anonymous-1": 2}


def test_jobs_are_spread_over_the_accounts_that_can_pay(stack: Stack) -> None:
    rich, poor, dead = (f"nmv_usr_{name}_account" for name in ("rich", "poor", "dead"))
    stack.start_sandbox("--account", f"{rich}=100000", "--account", f"{poor}=350")
    stack.start_worker(NEMO_TOKEN=f"{dead},{TOKEN},{rich},{poor}")
    batch(stack, "spring", 40)
    assert stack.wait_until_idle() == {State.SUCCEEDED: 40}
    paid = charged(stack)
    assert paid.total() == 40
    assert paid["account-1"] > 0
    assert paid["account-2"] > 0
    assert paid["account-3"] <= 3


def test_held_jobs_continue_when_their_token_works_again(stack: Stack) -> None:
    stack.start_sandbox()
    stack.start_worker(REELQUEUE_BALANCE_SECONDS="0.5")
    stack.wait_for(stack.submit(stack.image()), State.SUCCEEDED)
    stack.sandbox.change_account("account-1", "expire")
    (name,) = (account.name for account in stack.ledger.accounts())
    wait_until(
        lambda: stack.ledger.account(name).auth_refused_by == "balance",
        "the refusal of the token to be recorded",
    )
    job_id = stack.submit(stack.image())
    assert stack.wait_for(job_id, State.HELD).reason is Reason.TOKEN
    stack.sandbox.change_account("account-1", "revive")
    stack.wait_for(job_id, State.SUCCEEDED)


@pytest.mark.long
def test_rate_limits_pause_all_messages_and_fail_no_job(stack: Stack) -> None:
    pause = 6
    stack.start_sandbox("--seed", "5")
    stack.sandbox.inject_faults(
        {"call": "message", "action": "refuse", "code": 429, "retry_after": pause, "ratio": 0.2},
        {"call": "poll", "action": "refuse", "code": 429, "retry_after": pause, "ratio": 0.02},
    )
    stack.start_worker()
    batch(stack, "spring", 40)
    assert stack.wait_until_idle() == {State.SUCCEEDED: 40}
    assert set(stack.messages_by_image().values()) == {1}
    calls = [c for c in stack.sandbox.ledger()["requests"] if c["call"] == "message"]
    refused = [float(str(c["at"])) for c in calls if c["code"] == 429]
    assert refused
    for moment in refused:
        # Messages whose intent was written before may still arrive, the later the busier the
        # machine is; then there are none during the pause.
        early = [c for c in calls if pause / 2 < float(str(c["at"])) - moment < pause * 0.9]
        assert early == []


def test_the_slots_of_a_dead_worker_expire_with_its_leases(stack: Stack) -> None:
    stack.start_sandbox("--stream-seconds", "30")
    worker = stack.start_worker()
    batch(stack, "spring", 10)

    def slots() -> list[float]:
        """Return when each slot expires, in ms."""
        found: list[float] = []
        for key in stack.redis.scan_iter("slots:{rq}:*"):
            pairs: Any = stack.redis.zrange(key, 0, -1, withscores=True)
            found += [until for _, until in pairs]
        return found

    wait_until(lambda: len(slots()) >= 5, "messages in flight")
    worker.kill()
    died = stack.ledger.now_ms()
    assert max(slots()) <= died + LEASE_AND_LEASE_MARGIN_MS


def test_an_unknown_outcome_names_the_balances_and_records_who_decided(stack: Stack) -> None:
    stack.start_sandbox(credits_given=1000)
    stack.start_worker(REELQUEUE_STREAM_TIMEOUT_SECONDS="3")
    stack.sandbox.inject_faults({"call": "message", "action": "break", "then": "stay"})
    job_id = stack.submit(stack.image())
    job = stack.wait_for(job_id, State.HELD)
    assert job.reason is Reason.OUTCOME_UNKNOWN
    assert "had 1000 credits before it and 900 after it" in job.message
    assert "no other message of this service" in job.message
    assert str(job.fact("claim_url")) in job.remedy
    assert "--as-done" in job.remedy
    assert stack.ledger.release(job_id, mode="as_done", who="eve") == "OK"
    wait_until(lambda: "contains nothing" in stack.job(job_id).message, "the draft to be refused")
    assert "--as-done" not in stack.job(job_id).remedy
    stack.ledger.release(job_id, mode="pay_again", who="ann")
    job = stack.wait_for(job_id, State.SUCCEEDED)
    (_, decision) = json.loads(job.facts["decisions"])
    assert (decision["choice"], decision["by"]) == ("pay_again", "ann")
    assert decision["at"] > 0
