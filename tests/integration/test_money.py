"""Money and pace of whole houses: what is out, what grows again, what is shared."""

import json
import re
from collections import Counter
from typing import Any

import pytest

from tests.integration.conftest import LEASE_SECONDS, TOKEN, House
from tests.support.ledger_access import submit_many
from tests.support.waiting import wait_until
from worker.ledger.ledger import LEASE_MARGIN_MS
from worker.ledger.model.states import Reason, State
from worker.ledger.model.submissions import NewJob

pytestmark = pytest.mark.integration

LEASE_AND_LEASE_MARGIN_MS = LEASE_SECONDS * 1000 + LEASE_MARGIN_MS


def batch(house: House, name: str, size: int) -> list[str]:
    """A batch of so many pictures, all of them in."""
    house.ledger.open_batch(name, name, house.ledger.now_ms())
    job_ids = [f"{name}-{n}" for n in range(size)]
    jobs = [
        NewJob(
            id=job_id,
            payload={"image": str(house.image(f"{job_id}.png", n)), "prompt": "a 1-second push-in"},
            fingerprint=job_id,
            batch_id=name,
            row=n,
        )
        for n, job_id in enumerate(job_ids)
    ]
    submit_many(house.ledger, jobs)
    house.ledger.seal_batch(name)
    return job_ids


def charged(house: House) -> Counter[str]:
    """Charged messages by account."""
    found = house.sandbox.ledger()["messages"]
    return Counter(str(message["account"]) for message in found if message["charged"])


@pytest.mark.long
def test_a_batch_of_a_hundred_with_credits_for_37(house: House) -> None:
    house.open_sandbox(credits_given=3700)
    house.allow_in_flight(20)
    house.start_worker()
    batch(house, "spring", 100)
    assert house.settled() == {State.SUCCEEDED: 37, State.HELD: 63}
    found = house.ledger.batch("spring")
    assert found is not None
    assert found.held_by == {Reason.CREDITS: 63}
    last = house.job(house.ledger.held_ids(Reason.CREDITS)[-1])
    assert re.search(r"waiting for credits: \d+; about \d+ are missing", last.message)
    assert "Top up" in last.remedy
    house.sandbox.top_up("account-1", 6300)
    wait_until(
        lambda: house.ledger.counts()[0] == {State.SUCCEEDED: 100},
        "the rest to go on by itself",
        120,
    )
    assert set(house.messages_by_image().values()) == {1}
    assert charged(house) == {"account-1": 100}


def test_dearer_clips_leave_fewer_jobs_and_never_a_debt(house: House) -> None:
    """Clips at 150 where 100 were expected: what was seen is what the rest reserve."""
    house.open_sandbox("--price", "150", credits_given=1000)
    house.start_worker()
    job_id = house.submit(house.image())
    house.wait_for(job_id, State.SUCCEEDED)
    wait_until(lambda: house.job(job_id).turns[0].charged, "its charge to be read")
    assert house.job(job_id).turns[0].cost == 150
    batch(house, "spring", 10)
    assert house.settled() == {State.SUCCEEDED: 6, State.HELD: 5}
    (account,) = house.ledger.accounts()
    assert (account.estimate, account.available) == (150, 100)
    refused = [m for m in house.sandbox.ledger()["messages"] if m["outcome"] == "refused"]
    assert refused == [], "nobody had to be turned away for want of credits"


def test_a_batch_spends_no_more_than_it_may(house: House) -> None:
    house.open_sandbox()
    house.start_worker()
    house.ledger.open_batch("spring", "spring", 1)
    house.redis.hset("batch:{rq}:spring", "max_credits", 450)
    batch(house, "spring", 10)
    assert house.settled() == {State.SUCCEEDED: 4, State.HELD: 6}
    assert house.ledger.counts()[1] == {Reason.BUDGET: 6}
    uploads = house.sandbox.ledger()["uploads"]
    assert len(uploads) < 10, "the gate stands before the upload"


def test_after_the_token_was_replaced_release_renders_without_paying_again(house: House) -> None:
    house.open_sandbox()
    house.sandbox.change("account-1", "scopes", render=False)
    worker = house.start_worker()
    job_id = house.submit(house.image())
    job = house.wait_for(job_id, State.HELD)
    assert (job.reason, bool(job.fact("draft"))) == (Reason.PLAN, True)
    worker.kill()
    house.sandbox.change("account-1", "expire")
    house.sandbox.change("account-1", "tokens", token="nmv_usr_of_a_better_plan")
    house.sandbox.change("account-1", "scopes", render=True)
    # The session is found under the new token, though another one is named before it.
    house.start_worker(NEMO_TOKEN="nmv_usr_of_somebody,nmv_usr_of_a_better_plan")
    assert house.ledger.release(job_id) == "OK"
    job = house.wait_for(job_id, State.SUCCEEDED)
    assert (job.paid_messages, charged(house)) == (1, {"account-1": 1})


def test_an_anonymous_account_ends_with_its_plan_and_goes_on_when_it_is_registered(
    house: House,
) -> None:
    house.open_sandbox("--anonymous-credits", "150")
    worker = house.start_worker(NEMO_TOKEN="")
    first = house.submit(house.image())
    assert house.wait_for(first, State.HELD).reason is Reason.PLAN
    second = house.wait_for(house.submit(house.image()), State.HELD)
    assert second.reason is Reason.CREDITS
    (session,) = house.sandbox.ledger()["sessions"]
    assert f"/register?bind={session['task_id']}" in second.remedy
    worker.kill()
    house.sandbox.change("anonymous-1", "tokens", token=TOKEN + "_bound")
    house.sandbox.change("anonymous-1", "scopes", render=True)
    house.sandbox.top_up("anonymous-1", 50)
    house.start_worker(NEMO_TOKEN=TOKEN + "_bound")
    house.wait_for(second.id, State.SUCCEEDED)
    assert house.ledger.release(first) == "OK"
    house.wait_for(first, State.SUCCEEDED)
    assert charged(house) == {"anonymous-1": 2}


def test_work_spreads_over_the_accounts_that_can_take_it(house: House) -> None:
    rich, poor, dead = (f"nmv_usr_{name}_account" for name in ("rich", "poor", "dead"))
    house.open_sandbox("--account", f"{rich}=100000", "--account", f"{poor}=350")
    house.start_worker(NEMO_TOKEN=f"{dead},{TOKEN},{rich},{poor}")
    batch(house, "spring", 40)
    assert house.settled() == {State.SUCCEEDED: 40}
    paid = charged(house)
    assert paid.total() == 40
    assert paid["account-1"] > 0
    assert paid["account-2"] > 0
    assert paid["account-3"] <= 3


def test_a_token_that_works_again_lets_its_jobs_go_on(house: House) -> None:
    house.open_sandbox()
    house.start_worker(REELQUEUE_BALANCE_SECONDS="0.5")
    house.wait_for(house.submit(house.image()), State.SUCCEEDED)
    house.sandbox.change("account-1", "expire")
    (name,) = (account.name for account in house.ledger.accounts())
    wait_until(
        lambda: house.ledger.account(name).auth_refused_by == "balance", "the refusal to be seen"
    )
    job_id = house.submit(house.image())
    assert house.wait_for(job_id, State.HELD).reason is Reason.TOKEN
    house.sandbox.change("account-1", "revive")
    house.wait_for(job_id, State.SUCCEEDED)


def test_a_storm_of_429_fails_no_job_and_is_waited_out(house: House) -> None:
    pause = 1
    house.open_sandbox("--seed", "5")
    house.sandbox.misbehave(
        {"call": "message", "action": "refuse", "code": 429, "retry_after": pause, "ratio": 0.2},
        {"call": "poll", "action": "refuse", "code": 429, "retry_after": pause, "ratio": 0.02},
    )
    house.start_worker()
    batch(house, "spring", 40)
    assert house.settled() == {State.SUCCEEDED: 40}
    assert set(house.messages_by_image().values()) == {1}
    calls = [c for c in house.sandbox.ledger()["requests"] if c["call"] == "message"]
    refused = [float(str(c["at"])) for c in calls if c["code"] == 429]
    assert refused
    for moment in refused:
        # What was under way at that moment may still arrive; then nobody knocks for a while.
        early = [c for c in calls if 0.3 < float(str(c["at"])) - moment < pause * 0.9]
        assert early == []


def test_the_slots_of_a_dead_worker_are_free_after_a_lease(house: House) -> None:
    house.open_sandbox("--stream-seconds", "30")
    worker = house.start_worker()
    batch(house, "spring", 10)

    def slots() -> list[float]:
        """When each slot that is taken falls free by itself."""
        found: list[float] = []
        for key in house.redis.scan_iter("slots:{rq}:*"):
            pairs: Any = house.redis.zrange(key, 0, -1, withscores=True)
            found += [until for _, until in pairs]
        return found

    wait_until(lambda: len(slots()) >= 5, "messages in flight")
    worker.kill()
    died = house.ledger.now_ms()
    assert max(slots()) <= died + LEASE_AND_LEASE_MARGIN_MS


def test_an_unknown_outcome_tells_the_balances_and_who_decided(house: House) -> None:
    house.open_sandbox(credits_given=1000)
    house.start_worker(REELQUEUE_STREAM_TIMEOUT_SECONDS="3")
    house.sandbox.misbehave({"call": "message", "action": "break", "then": "stay"})
    job_id = house.submit(house.image())
    job = house.wait_for(job_id, State.HELD)
    assert job.reason is Reason.OUTCOME_UNKNOWN
    assert "held 1000 credits before it and holds 900 now" in job.message
    assert str(job.fact("claim_url")) in job.remedy
    house.ledger.release(job_id, mode="pay_again", who="ann")
    job = house.wait_for(job_id, State.SUCCEEDED)
    (decision,) = json.loads(job.facts["decisions"])
    assert (decision["choice"], decision["by"]) == ("pay_again", "ann")
    assert decision["at"] > 0
