"""Webhooks in the ledger: owed by the script that commits the end, and once for each end."""

import pytest

from tests.unit.worker.ledger.conftest import House, commit_again
from worker.ledger.ledger import Commit
from worker.ledger.model.states import Reason, State
from worker.ledger.model.submissions import NewJob
from worker.ledger.webhooks import (
    MAX_LEASED_RECEIVERS,
    RECEIVER_LEASE_SECONDS,
    WebhookMessage,
    Webhooks,
)

URL = "https://one.example/told"
OTHER = "https://two.example:8443/told?x=1"


@pytest.fixture
def hooks(house: House) -> Webhooks:
    return Webhooks(house.ledger)


def submit(house: House, job_id: str, webhook: str = URL, batch_id: str = "") -> None:
    payload = {"webhook": webhook} if webhook else {}
    house.ledger.submit(NewJob(id=job_id, payload=payload, fingerprint="f", batch_id=batch_id))


def end(house: House, job_id: str, state: State, nonce: str = "c") -> None:
    """Run a job that waits to its end, or to a hold."""
    house.admit()
    fence = house.claim(job_id, nonce=f"claim-{nonce}")
    reason = {State.HELD: Reason.BUDGET, State.FAILED: Reason.BAD_IMAGE}.get(state)
    resume = State.PREPARING if state is State.HELD else None
    commit = Commit(state, reason=reason, resume=resume)
    assert commit_again(house.ledger, job_id, fence, commit, nonce)
    assert commit_again(house.ledger, job_id, fence, commit, nonce), (
        "a lost reply makes it run again"
    )


def owed(house: House) -> list[str]:
    """Every message that is owed, by its id."""
    return sorted(key.partition("}:")[2] for key in house.redis.scan_iter("hook:{t}:*"))


def ring_one(hooks: Webhooks) -> tuple[str, WebhookMessage]:
    (receiver,) = hooks.lease_receivers()
    hook = hooks.due(receiver)
    assert hook is not None
    return receiver, hook


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.HELD])
def test_an_end_or_a_hold_owes_one_message(house: House, hooks: Webhooks, state: State) -> None:
    submit(house, "j")
    assert owed(house) == []
    end(house, "j", state)
    assert owed(house) == ["job_j_1"]
    _, hook = ring_one(hooks)
    assert (hook.event, hook.about, hook.url, hook.tries) == (f"job.{state}", "j", URL, 0)


def test_a_cancelled_job_owes_one_and_one_without_a_webhook_none(
    house: House, hooks: Webhooks
) -> None:
    submit(house, "j")
    submit(house, "quiet", webhook="")
    house.ledger.cancel_many(["j", "quiet", "j"])
    assert owed(house) == ["job_j_1"]
    assert ring_one(hooks)[1].event == "job.cancelled"


def test_a_corrected_cost_is_no_second_end(house: House) -> None:
    submit(house, "j")
    house.admit()
    fence = house.claim("j")
    house.ledger.update_facts("j", fence, {"account": "a"})
    house.payments.record_balance("a", read_at=1, available=1000, frozen=0, total=1000)
    house.begin("j", fence, call="j:1:1")
    house.ledger.commit("j", fence, Commit(State.SUCCEEDED, outcome="done"))
    house.later(10)
    house.payments.record_balance(
        "a", read_at=house.ledger.now_ms(), available=920, frozen=0, total=920
    )
    job = house.ledger.job("j")
    assert job is not None
    assert (job.turns[0].charged, job.revision) == (True, 2), "its Celery result is told again"
    assert owed(house) == ["job_j_1"]


def test_a_job_that_goes_on_is_told_of_again_under_another_id(house: House) -> None:
    submit(house, "j")
    end(house, "j", State.HELD, "first")
    house.ledger.release("j")
    end(house, "j", State.SUCCEEDED, "second")
    assert owed(house) == ["job_j_1", "job_j_2"]


# --- what becomes of a message


def test_a_received_message_is_owed_no_more(house: House, hooks: Webhooks) -> None:
    submit(house, "j")
    end(house, "j", State.SUCCEEDED)
    receiver, hook = ring_one(hooks)
    hooks.store_body(hook, "{}")
    for _ in range(2):
        hooks.received(hook)
        hooks.release_receiver(receiver)
    assert not [key for key in house.redis.scan_iter("*") if "hook" in key or "receivers" in key]
    assert not house.redis.hget("job:{t}:j", "webhook_error")


def test_a_message_in_vain_is_tried_later_and_says_the_same(house: House, hooks: Webhooks) -> None:
    submit(house, "j")
    end(house, "j", State.SUCCEEDED)
    receiver, hook = ring_one(hooks)
    hooks.store_body(hook, "what was said")
    hooks.retry_later(hook, 60)
    hooks.release_receiver(receiver, rest=5)
    house.later(59)
    assert hooks.lease_receivers() == []
    house.later(2)
    _, again = ring_one(hooks)
    assert (again.name, again.tries, again.body) == (hook.name, 1, "what was said")


def test_a_message_that_is_given_up_leaves_its_reason_in_the_record(
    house: House, hooks: Webhooks
) -> None:
    submit(house, "j")
    end(house, "j", State.SUCCEEDED)
    receiver, hook = ring_one(hooks)
    hooks.give_up(hook, "status 500")
    hooks.release_receiver(receiver)
    assert owed(house) == hooks.lease_receivers() == []
    assert house.redis.hget("job:{t}:j", "webhook_error") == "status 500"


def test_a_worker_that_dies_with_a_receiver_loses_nothing(house: House, hooks: Webhooks) -> None:
    submit(house, "j")
    end(house, "j", State.SUCCEEDED)
    first = hooks.lease_receivers()
    assert hooks.lease_receivers() == [], "one worker at a time"
    house.later(RECEIVER_LEASE_SECONDS + 1)
    assert hooks.lease_receivers() == first


def test_a_dead_receiver_holds_up_no_other_and_few_are_talked_to_at_once(
    house: House, hooks: Webhooks
) -> None:
    for n in range(5):
        submit(house, f"dead{n}")
    submit(house, "good", webhook=OTHER)
    house.ledger.cancel_many([*(f"dead{n}" for n in range(5)), "good"])
    receivers = hooks.lease_receivers()
    assert len(receivers) == 2, "each receiver once, whatever it is owed"
    found = [hook.url for receiver in receivers if (hook := hooks.due(receiver))]
    assert sorted(found) == sorted([URL, OTHER])
    for n in range(2 * MAX_LEASED_RECEIVERS):
        submit(house, f"j{n}", webhook=f"https://{n}.example/")
    house.ledger.cancel_many(f"j{n}" for n in range(2 * MAX_LEASED_RECEIVERS))
    assert len(hooks.lease_receivers()) == MAX_LEASED_RECEIVERS - 2


# --- batches


def open_batch(house: House, *job_ids: str) -> None:
    house.ledger.open_batch("b", "spring", 1)
    house.ledger.unseal_batch("b", URL)
    for job_id in job_ids:
        submit(house, job_id, webhook="", batch_id="b")


def test_a_batch_ends_never_before_it_is_sealed(house: House, hooks: Webhooks) -> None:
    open_batch(house, "j")
    end(house, "j", State.SUCCEEDED)
    assert owed(house) == []
    house.ledger.seal_batch("b")
    house.ledger.seal_batch("b")
    assert owed(house) == ["batch_b_1"]
    _, hook = ring_one(hooks)
    assert (hook.event, hook.kind, hook.about) == ("batch.ended", "batch", "b")


def test_a_batch_ends_once_with_its_last_job(house: House) -> None:
    open_batch(house, "j1", "j2", "j3")
    house.ledger.seal_batch("b")
    end(house, "j1", State.SUCCEEDED)
    end(house, "j2", State.HELD)
    assert owed(house) == []
    house.ledger.cancel("j3")
    assert owed(house) == ["batch_b_1"]
    house.ledger.cancel("j2")
    assert owed(house) == ["batch_b_1"], "nothing was open between"


def test_a_batch_that_is_opened_again_ends_again(house: House) -> None:
    open_batch(house, "j1", "j2")
    house.ledger.seal_batch("b")
    end(house, "j1", State.FAILED)
    end(house, "j2", State.HELD)
    assert owed(house) == ["batch_b_1"]
    house.ledger.release("j2")
    house.ledger.retry("j1")
    house.admit()
    fences = [house.claim(job_id, nonce="again") for job_id in ("j1", "j2")]
    house.ledger.commit("j1", fences[0], Commit(State.SUCCEEDED))
    assert owed(house) == ["batch_b_1"]
    house.ledger.commit("j2", fences[1], Commit(State.SUCCEEDED))
    assert owed(house) == ["batch_b_1", "batch_b_2"]


def test_a_manifest_that_comes_again_is_told_of_only_if_it_brings_something(house: House) -> None:
    open_batch(house, "j1")
    house.ledger.seal_batch("b")
    house.ledger.cancel("j1")
    open_batch(house, "j1")
    house.ledger.seal_batch("b")
    assert owed(house) == ["batch_b_1"]
    open_batch(house, "j1", "j2")
    house.ledger.cancel("j2")
    assert owed(house) == ["batch_b_1"], "more rows may come"
    house.ledger.seal_batch("b")
    assert owed(house) == ["batch_b_1", "batch_b_2"]


@pytest.mark.parametrize("field", ["event", "kind", "about", "url", "at", "tries", ""])
def test_a_message_that_makes_no_sense_stops_no_other(
    house: House, hooks: Webhooks, field: str
) -> None:
    """One of its fields is gone; '': its key holds something else."""
    for name in ("a", "b"):
        submit(house, name)
        end(house, name, State.SUCCEEDED)
        house.later(1)
    key = "hook:{t}:job_a_1"
    if field:
        house.redis.hdel(key, field)
    else:
        house.redis.set(key, "text")
    assert ring_one(hooks)[1].about == "b"
    assert house.ledger.set_aside() == {key: "its key holds no webhook message"}
    assert house.redis.hget("meta:{t}", "hooks") == "1"
