"""A script that meets a key of another type changes nothing: no partial write is left."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from tests.unit.worker.ledger.conftest import LedgerHarness
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.model.submissions import NewJob
from worker.ledger.rows import Rows, RowSubmission
from worker.ledger.webhooks import WebhookMessage, Webhooks

Call = Callable[[LedgerHarness, dict[str, str]], object]

RUNNING = ("moves", "ends", "fails", "begins", "waits")
FAILED_MESSAGE = WebhookMessage(
    "job_failed_1", "job.failed", "job", "failed", "https://example.org/hook", 1, 0, ""
)
CALLS: dict[str, Call] = {
    "submit": lambda h, _: h.ledger.submit(job("new")),
    "submit a row in the place of another": lambda h, _: submit_row(h, "queued"),
    "submit a row in the place of a held one": lambda h, _: submit_row(h, "held"),
    "submit a known row": lambda h, _: submit_row(h, "moves", content="f"),
    "commit next": lambda h, f: h.ledger.commit(
        "moves", f["moves"], Commit(State.GENERATING, facts={"draft": "d"})
    ),
    "commit end": lambda h, f: h.ledger.commit("ends", f["ends"], Commit(State.SUCCEEDED)),
    "commit hold": lambda h, f: h.ledger.commit(
        "fails", f["fails"], Commit(State.HELD, reason=Reason.PLAN, resume=State.RENDERING)
    ),
    "cancel held": lambda h, _: h.ledger.cancel("held"),
    "cancel waiting": lambda h, _: list(h.ledger.cancel_waiting("b")),
    "cancel queued": lambda h, _: h.ledger.cancel("queued"),
    "pause": lambda h, _: h.ledger.pause("b"),
    "resume": lambda h, _: h.ledger.resume("b"),
    "schedule": lambda h, _: h.ledger.schedule("b", 2_000_000_000),
    "seal": lambda h, _: h.ledger.seal_batch("done"),
    "release": lambda h, _: h.ledger.release("held"),
    "retry": lambda h, _: h.ledger.retry("failed"),
    "begin_paid": lambda h, f: h.begin("begins", f["begins"], call="begins:1:1"),
    "withdraw_intent": lambda h, _: h.payments.withdraw("paid", "paid:1:1", "not_sent"),
    "acquire a session": lambda h, f: h.ledger.acquire_session("follows", f["follows"]),
    "share a session": lambda h, f: h.ledger.share_session("moves", f["moves"]),
    "lease receivers": lambda h, _: Webhooks(h.ledger).lease_receivers(),
    "webhook received": lambda h, _: Webhooks(h.ledger).received(FAILED_MESSAGE),
    "webhook failed": lambda h, _: Webhooks(h.ledger).retry_later(FAILED_MESSAGE, 5, "why"),
    "release a receiver": lambda h, _: Webhooks(h.ledger).release_receiver(receiver(h)),
    "prune": lambda h, _: h.ledger.scripts.run("prune", int(1e12), 1000, "failed"),
    "paid_fact": lambda h, _: h.payments.record_facts("paid", "paid:1:1", {"ended": "clean"}),
}

OF_BATCHES = ("pause", "resume", "schedule", "seal")
OF_RECEIVERS = ("lease receivers", "webhook received", "webhook failed")
OF_SUBMISSIONS = ("submit", "submit a known row")
WITHOUT_AGENDA = (*OF_BATCHES, *OF_RECEIVERS, *OF_SUBMISSIONS, "prune", "begin_paid")
WITHOUT_META = ("acquire a session", "share a session", "release a receiver", "paid_fact")


def receiver(harness: LedgerHarness) -> str:
    """The receiver of all webhooks of jobs."""
    (key,) = [key for key in harness.redis.scan_iter("hook:*") if key.endswith("job_failed_1")]
    return str(harness.redis.hget(key, "receiver"))


def job(name: str) -> NewJob:
    """A job of a batch with a webhook, and with a key."""
    payload = {"image": "x.png", "webhook": "https://example.org/hook"}
    return NewJob(id=name, payload=payload, fingerprint="f", key=f"k-{name}", batch_id="b")


def submit_row(harness: LedgerHarness, name: str, content: str = "another") -> object:
    """Submit the row of a job again."""
    new = replace(
        job(name), id=f"{name} again", fingerprint=content, content=content, manifest_row=1
    )
    return list(Rows(harness.ledger).submit_pages([[new]], RowSubmission("b", "again")))


def build(harness: LedgerHarness) -> dict[str, str]:
    """Write jobs in all states, one of which is held over another one; their fences."""
    ledger = harness.ledger
    ledger.open_batch("b", "b", 1)
    ledger.open_batch("done", "done", 1)
    ledger.unseal_batch("done", "https://example.org/batch")
    harness.payments.record_balance("a", read_at=1, available=1e6, frozen=0, total=1e6)
    fences = {}
    for name in (*RUNNING, "paid", "held", "failed"):
        ledger.submit(job(name))
        assert harness.admit() == [name]
        fences[name] = fence = harness.claim(name)
        ledger.update_facts(name, fence, {"account": "a", "session_id": f"s-{name}"})
    ledger.submit(replace(job("follows"), follows="failed", batch_id=""))
    assert harness.admit() == ["follows"]
    fences["follows"] = harness.claim("follows")
    assert harness.begin("paid", fences["paid"], call="paid:1:1") == "OK"
    end = Commit(State.FAILED, reason=Reason.BAD_IMAGE)
    assert ledger.commit("failed", fences["failed"], end)
    hold = Commit(State.HELD, reason=Reason.CREDITS, resume=State.PREPARING)
    assert ledger.commit("held", fences["held"], hold)
    blocked = Commit(
        State.HELD, reason=Reason.BLOCKED, resume=State.PREPARING, facts={"blocked_by": "held"}
    )
    assert ledger.commit("waits", fences["waits"], blocked)
    ledger.redis.zrem(ledger.key("outbox"), "job:failed")
    for session in ("s-moves", "s-failed"):
        ledger.redis.hset(ledger.key("session", session), "last", "a message")
    ledger.submit(job("queued"))
    return fences


def contents(redis: Redis) -> dict[str, bytes]:
    """Everything that is stored, but for what only reports damage."""
    keys = [key for key in redis.scan_iter("*", 1000) if not key.startswith("unreadable:")]
    with redis.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.dump(key)
        return dict(zip(keys, pipe.execute(), strict=True))


def restore(redis: Redis, saved: dict[str, bytes]) -> None:
    """Bring back what was stored, and nothing else."""
    with redis.pipeline() as pipe:
        pipe.flushdb()
        for key, value in saved.items():
            pipe.restore(key, 0, value)
        pipe.execute()


def infrastructure(redis: Redis) -> list[str]:
    """The keys besides the records of jobs and what the tests themselves use."""
    keys = sorted(redis.scan_iter("*"))
    return [key for key in keys if not key.startswith(("job:", "test:"))]


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("foreign", ["string", "list"])
def test_a_failing_call_changes_nothing(harness: LedgerHarness, name: str, foreign: str) -> None:
    fences = build(harness)
    redis = harness.redis
    undamaged = contents(redis)
    refused = []
    for key in infrastructure(redis):
        if redis.type(key) == foreign:
            continue
        redis.delete(key)
        if foreign == "string":
            redis.set(key, "junk")
        else:
            redis.rpush(key, "junk")
        before = contents(redis)
        if is_refused(lambda: CALLS[name](harness, fences)):
            refused.append(key)
            after = contents(redis)
            changed = {at for at in {*before, *after} if before.get(at) != after.get(at)}
            if redis.exists("unreadable:{t}"):
                # A job whose batch cannot be read is set aside, which takes it off the agenda.
                changed.discard("agenda:{t}")
            assert not changed, f"with a {foreign} in {key}"
        restore(redis, undamaged)
    needed = {"meta:{t}"} if name in WITHOUT_AGENDA else {"meta:{t}", "agenda:{t}"}
    assert refused if name in WITHOUT_META else needed <= set(refused)


def is_refused(call: Callable[[], object]) -> bool:
    """Whether a call fails, or answers that it cannot read or own the job."""
    try:
        return call() in (False, "UNREADABLE", "LOST")
    except ResponseError:
        return True
