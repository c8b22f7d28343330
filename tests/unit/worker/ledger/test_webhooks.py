"""Webhook messages: added with the move to an end or a hold, once for each."""

import pytest

from tests.unit.worker.ledger.conftest import LedgerHarness, commit_again
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.model.submissions import NewJob
from worker.ledger.webhooks import (
    MAX_LEASED_RECEIVERS,
    RECEIVER_LEASE_SECONDS,
    WebhookMessage,
    Webhooks,
)

URL = "https://one.example/hook"
OTHER = "https://two.example:8443/hook?x=1"


@pytest.fixture
def hooks(harness: LedgerHarness) -> Webhooks:
    return Webhooks(harness.ledger)


def submit(harness: LedgerHarness, job_id: str, webhook: str = URL, batch_id: str = "") -> None:
    payload = {"webhook": webhook} if webhook else {}
    harness.ledger.submit(NewJob(id=job_id, payload=payload, fingerprint="f", batch_id=batch_id))


def end(harness: LedgerHarness, job_id: str, state: State, nonce: str = "c") -> None:
    """Run a queued job to an end or a hold."""
    harness.admit()
    fence = harness.claim(job_id, nonce=f"claim-{nonce}")
    reason = {State.HELD: Reason.BUDGET, State.FAILED: Reason.BAD_IMAGE}.get(state)
    resume = State.PREPARING if state is State.HELD else None
    commit = Commit(state, reason=reason, resume=resume)
    assert commit_again(harness.ledger, job_id, fence, commit, nonce) == "OK"
    assert commit_again(harness.ledger, job_id, fence, commit, nonce) == "OK", (
        "as after a lost reply"
    )


def owed(harness: LedgerHarness) -> list[str]:
    """Return the ids of all messages that are owed."""
    return sorted(key.partition("}:")[2] for key in harness.redis.scan_iter("hook:{t}:*"))


def lease_one(hooks: Webhooks) -> tuple[str, WebhookMessage]:
    (receiver,) = hooks.lease_receivers()
    hook = hooks.due(receiver)
    assert hook is not None
    return receiver, hook


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.HELD])
def test_an_end_or_a_hold_adds_one_message(
    harness: LedgerHarness, hooks: Webhooks, state: State
) -> None:
    submit(harness, "j")
    assert owed(harness) == []
    end(harness, "j", state)
    assert owed(harness) == ["job_j_1"]
    _, hook = lease_one(hooks)
    assert (hook.event, hook.about, hook.url, hook.tries) == (f"job.{state}", "j", URL, 0)


def test_a_cancelled_job_adds_one_message_and_a_job_without_a_webhook_none(
    harness: LedgerHarness, hooks: Webhooks
) -> None:
    submit(harness, "j")
    submit(harness, "quiet", webhook="")
    harness.ledger.cancel_many(["j", "quiet", "j"])
    assert owed(harness) == ["job_j_1"]
    assert lease_one(hooks)[1].event == "job.cancelled"


def test_a_corrected_cost_adds_no_second_message(harness: LedgerHarness) -> None:
    submit(harness, "j")
    harness.admit()
    fence = harness.claim("j")
    harness.ledger.update_facts("j", fence, {"account": "a"})
    harness.payments.record_balance("a", read_at=1, available=1000, frozen=0, total=1000)
    harness.begin("j", fence, call="j:1:1")
    harness.ledger.commit("j", fence, Commit(State.SUCCEEDED, outcome="done"))
    harness.later(10)
    harness.payments.record_balance(
        "a", read_at=harness.ledger.now_ms(), available=920, frozen=0, total=920
    )
    job = harness.ledger.job("j")
    assert job is not None
    assert (job.turns[0].charged, job.revision) == (True, 2), "its notification is pending again"
    assert owed(harness) == ["job_j_1"]


def test_a_second_end_of_a_job_adds_a_message_with_another_id(harness: LedgerHarness) -> None:
    submit(harness, "j")
    end(harness, "j", State.HELD, "first")
    harness.ledger.release("j")
    end(harness, "j", State.SUCCEEDED, "second")
    assert owed(harness) == ["job_j_1", "job_j_3"]


# --- results of a try


def test_a_received_message_is_deleted(harness: LedgerHarness, hooks: Webhooks) -> None:
    submit(harness, "j")
    end(harness, "j", State.SUCCEEDED)
    receiver, hook = lease_one(hooks)
    hooks.store_body(hook, "{}")
    for _ in range(2):
        hooks.received(hook)
        hooks.release_receiver(receiver)
    assert not [key for key in harness.redis.scan_iter("*") if "hook" in key or "receivers" in key]
    assert not harness.redis.hget("job:{t}:j", "webhook_error")


def test_a_failed_try_is_repeated_later_with_the_same_body(
    harness: LedgerHarness, hooks: Webhooks
) -> None:
    submit(harness, "j")
    end(harness, "j", State.SUCCEEDED)
    receiver, hook = lease_one(hooks)
    hooks.store_body(hook, "what was said")
    hooks.retry_later(hook, 60)
    hooks.release_receiver(receiver, rest=5)
    harness.later(59)
    assert hooks.lease_receivers() == []
    harness.later(2)
    _, again = lease_one(hooks)
    assert (again.name, again.tries, again.body) == (hook.name, 1, "what was said")


def test_the_reason_of_a_message_that_is_given_up_is_stored_in_the_record(
    harness: LedgerHarness, hooks: Webhooks
) -> None:
    submit(harness, "j")
    end(harness, "j", State.SUCCEEDED)
    receiver, hook = lease_one(hooks)
    hooks.give_up(hook, "status 500")
    hooks.release_receiver(receiver)
    assert owed(harness) == hooks.lease_receivers() == []
    assert harness.redis.hget("job:{t}:j", "webhook_error") == "status 500"


def test_the_receiver_of_a_dead_worker_is_leased_again(
    harness: LedgerHarness, hooks: Webhooks
) -> None:
    submit(harness, "j")
    end(harness, "j", State.SUCCEEDED)
    first = hooks.lease_receivers()
    assert hooks.lease_receivers() == [], "one worker at a time"
    harness.later(RECEIVER_LEASE_SECONDS + 1)
    assert hooks.lease_receivers() == first


def test_a_dead_receiver_delays_no_other_and_the_leased_ones_are_limited(
    harness: LedgerHarness, hooks: Webhooks
) -> None:
    for n in range(5):
        submit(harness, f"dead{n}")
    submit(harness, "good", webhook=OTHER)
    harness.ledger.cancel_many([*(f"dead{n}" for n in range(5)), "good"])
    receivers = hooks.lease_receivers()
    assert len(receivers) == 2, "each receiver once, whatever it is owed"
    found = [hook.url for receiver in receivers if (hook := hooks.due(receiver))]
    assert sorted(found) == sorted([URL, OTHER])
    for n in range(2 * MAX_LEASED_RECEIVERS):
        submit(harness, f"j{n}", webhook=f"https://{n}.example/")
    harness.ledger.cancel_many(f"j{n}" for n in range(2 * MAX_LEASED_RECEIVERS))
    assert len(hooks.lease_receivers()) == MAX_LEASED_RECEIVERS - 2


# --- what fails


def cancelled(harness: LedgerHarness, *job_ids: str, webhook: str = URL) -> None:
    """Add the webhook of jobs that are cancelled."""
    for job_id in job_ids:
        submit(harness, job_id, webhook)
    harness.ledger.cancel_many(job_ids)


def fail_one(hooks: Webhooks, delay: float = 5) -> str:
    """Try the next message in vain, and return the job that it is about."""
    receiver, hook = lease_one(hooks)
    hooks.retry_later(hook, delay, "status 500")
    hooks.release_receiver(receiver)
    return hook.about


def test_a_path_that_fails_delays_no_other_path_of_its_receiver(
    harness: LedgerHarness, hooks: Webhooks
) -> None:
    cancelled(harness, *(f"bad{n}" for n in range(250)), webhook=f"{URL}/bad?n=1")
    harness.later(1)
    cancelled(harness, "good", webhook=f"{URL}/good")
    (receiver,) = hooks.lease_receivers()
    tried = []
    for _ in range(5):
        while hook := hooks.due(receiver):
            tried.append(hook.about)
            if hook.about == "good":
                hooks.received(hook)
            else:
                hooks.retry_later(hook, 5, "status 500")
        hooks.release_receiver(receiver)
    assert tried.count("good") == 1
    assert len(tried) == 2, "the other messages of the bad path wait for its pause to end"


def test_a_receiver_where_everything_fails_is_tried_ever_less_often(
    harness: LedgerHarness, hooks: Webhooks
) -> None:
    """Each message has a path of its own."""
    for n in range(50):
        cancelled(harness, f"j{n}", webhook=f"{URL}/{n}")
    receiver, _ = lease_one(hooks)
    tries = 0
    for _ in range(3600):
        while hook := hooks.due(receiver):
            hooks.retry_later(hook, 28_800, "cannot be reached")
            tries += 1
        harness.later(1)
    assert 10 < tries < 25


def test_a_new_message_probes_a_receiver_that_is_paused(
    harness: LedgerHarness, hooks: Webhooks
) -> None:
    cancelled(harness, "a")
    for delay in (10, 20, 40, 80, 160, 320):
        assert fail_one(hooks, 1) == "a"
        harness.later(delay)
    fail_one(hooks, 28_800)
    harness.later(20)
    assert hooks.lease_receivers() == []
    cancelled(harness, "new")
    receiver, hook = lease_one(hooks)
    assert hook.about == "new"
    hooks.received(hook)
    cancelled(harness, "next")
    following = hooks.due(receiver)
    assert following is not None
    assert following.about == "next", "the receiver is well again"


def test_new_messages_probe_a_dead_receiver_once_in_five_seconds(
    harness: LedgerHarness, hooks: Webhooks
) -> None:
    tries = 0
    for n in range(300):
        cancelled(harness, f"j{n}")
        for receiver in hooks.lease_receivers():
            while hook := hooks.due(receiver):
                hooks.retry_later(hook, 28_800, "status 500")
                tries += 1
            hooks.release_receiver(receiver)
        harness.later(1)
    assert 55 <= tries <= 65


def test_a_dead_receiver_is_given_up_after_a_day_in_bulk(
    harness: LedgerHarness, hooks: Webhooks
) -> None:
    cancelled(harness, *(f"j{n}" for n in range(1200)))
    fail_one(hooks)
    harness.later(24 * 3600 - 10)
    cancelled(harness, "young")
    hooks.lease_receivers()
    assert len(owed(harness)) == 1201, "none is a day old"
    harness.later(11)
    rounds = 0
    while len(owed(harness)) > 1:
        hooks.lease_receivers()
        rounds += 1
    assert rounds == 3
    assert owed(harness) == ["job_young_1"]
    why = harness.redis.hget("job:{t}:j1199", "webhook_error")
    assert why == "not delivered within a day: status 500"
    assert harness.redis.hget("meta:{t}", "hooks") == "1"


def test_one_call_gives_up_few_of_a_large_backlog(harness: LedgerHarness, hooks: Webhooks) -> None:
    """A script that gave up 100,000 messages blocked Redis for seconds."""
    cancelled(harness, *(f"j{n}" for n in range(250)))
    (receiver,) = hooks.lease_receivers()
    harness.later(25 * 3600)
    for left in (150, 50, 0):
        assert hooks.due(receiver) is None
        assert len(owed(harness)) == left


def test_a_message_of_a_version_without_the_index_by_age_is_given_up_too(
    harness: LedgerHarness, hooks: Webhooks
) -> None:
    cancelled(harness, "j")
    harness.redis.delete("hooks_by_age:{t}")
    harness.later(24 * 3600 + 1)
    (receiver,) = hooks.lease_receivers()
    assert hooks.due(receiver) is None
    assert owed(harness) == []
    assert harness.redis.hget("job:{t}:j", "webhook_error") == "not delivered within a day"


# --- batches


def open_batch(harness: LedgerHarness, *job_ids: str) -> None:
    harness.ledger.open_batch("b", "spring", 1)
    harness.ledger.unseal_batch("b", URL)
    for job_id in job_ids:
        submit(harness, job_id, webhook="", batch_id="b")


def test_a_batch_does_not_end_before_it_is_sealed(harness: LedgerHarness, hooks: Webhooks) -> None:
    open_batch(harness, "j")
    end(harness, "j", State.SUCCEEDED)
    assert owed(harness) == []
    harness.ledger.seal_batch("b")
    harness.ledger.seal_batch("b")
    assert owed(harness) == ["batch_b_1"]
    _, hook = lease_one(hooks)
    assert (hook.event, hook.kind, hook.about) == ("batch.ended", "batch", "b")


def test_a_submission_that_has_sealed_its_batch_does_not_unseal_it_again(
    harness: LedgerHarness,
) -> None:
    """The first copy of a request whose connection stalled may arrive after the repetition."""
    ledger = harness.ledger
    ledger.open_batch("b", "spring", 1)
    ledger.unseal_batch("b", URL, "first")
    submit(harness, "j", webhook="", batch_id="b")
    ledger.seal_batch("b", "first")
    ledger.unseal_batch("b", URL, "first")
    end(harness, "j", State.SUCCEEDED)
    assert owed(harness) == ["batch_b_1"]
    ledger.unseal_batch("b", URL, "second")
    batch = ledger.batch("b")
    assert batch is not None
    assert not batch.sealed


def test_a_batch_ends_once_with_its_last_job(harness: LedgerHarness) -> None:
    open_batch(harness, "j1", "j2", "j3")
    harness.ledger.seal_batch("b")
    end(harness, "j1", State.SUCCEEDED)
    end(harness, "j2", State.HELD)
    assert owed(harness) == []
    harness.ledger.cancel("j3")
    assert owed(harness) == ["batch_b_1"]
    harness.ledger.cancel("j2")
    assert owed(harness) == ["batch_b_1"], "nothing was open between"


def test_a_reopened_batch_ends_again(harness: LedgerHarness) -> None:
    open_batch(harness, "j1", "j2")
    harness.ledger.seal_batch("b")
    end(harness, "j1", State.FAILED)
    end(harness, "j2", State.HELD)
    assert owed(harness) == ["batch_b_1"]
    harness.ledger.release("j2")
    harness.ledger.retry("j1")
    harness.admit()
    fences = [harness.claim(job_id, nonce="again") for job_id in ("j1", "j2")]
    harness.ledger.commit("j1", fences[0], Commit(State.SUCCEEDED))
    assert owed(harness) == ["batch_b_1"]
    harness.ledger.commit("j2", fences[1], Commit(State.SUCCEEDED))
    assert owed(harness) == ["batch_b_1", "batch_b_2"]


def test_a_repeated_manifest_ends_the_batch_again_only_if_it_adds_a_job(
    harness: LedgerHarness,
) -> None:
    open_batch(harness, "j1")
    harness.ledger.seal_batch("b")
    harness.ledger.cancel("j1")
    open_batch(harness, "j1")
    harness.ledger.seal_batch("b")
    assert owed(harness) == ["batch_b_1"]
    open_batch(harness, "j1", "j2")
    harness.ledger.cancel("j2")
    assert owed(harness) == ["batch_b_1"], "more rows may come"
    harness.ledger.seal_batch("b")
    assert owed(harness) == ["batch_b_1", "batch_b_2"]


@pytest.mark.parametrize("field", ["event", "kind", "about", "url", "at", "tries", ""])
def test_a_message_that_cannot_be_read_does_not_stop_the_others(
    harness: LedgerHarness, hooks: Webhooks, field: str
) -> None:
    """A field is missing, or its key holds something else if the field is ''."""
    for name in ("a", "b"):
        submit(harness, name)
        end(harness, name, State.SUCCEEDED)
        harness.later(1)
    key = "hook:{t}:job_a_1"
    if field:
        harness.redis.hdel(key, field)
    else:
        harness.redis.set(key, "text")
    assert lease_one(hooks)[1].about == "b"
    assert harness.ledger.set_aside() == {key: "its key holds no webhook message"}
    assert harness.redis.hget("meta:{t}", "hooks") == "1"
