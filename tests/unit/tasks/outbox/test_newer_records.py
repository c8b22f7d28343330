"""Notifications of records that a newer version wrote are left to the workers of that version."""

from tasks.outbox import notifications, webhook_delivery
from tests.support.waiting import refusing_port
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.model.submissions import NewJob
from worker.ledger.webhooks import Webhooks
from worker.runtime.runtime import Runtime


def end_newer_job(runtime: Runtime) -> None:
    """End a job with a webhook, in a record of a newer version."""
    ledger = runtime.ledger
    hook = f"http://127.0.0.1:{refusing_port()}/hook"
    ledger.submit(NewJob(id="j", payload={"image": "a", "webhook": hook}, fingerprint="f"))
    ledger.due(1, room=1, admit=1)
    fence = ledger.claim("j", "w", "n").fence
    assert ledger.commit("j", fence, Commit(State.FAILED, reason=Reason.BAD_IMAGE))
    ledger.redis.hset(ledger.key("job", "j"), "v", "99")


def test_an_older_worker_drops_no_notification_of_a_newer_record(runtime: Runtime) -> None:
    end_newer_job(runtime)
    assert notifications.notify("job:j") == "newer"
    assert runtime.ledger.redis.zscore(runtime.ledger.key("outbox"), "job:j") is not None


def test_an_older_worker_sends_no_webhook_of_a_newer_record(runtime: Runtime) -> None:
    """The webhook would report a damaged record."""
    end_newer_job(runtime)
    webhooks = Webhooks(runtime.ledger)
    (receiver,) = webhooks.lease_receivers()
    assert webhook_delivery.deliver_webhooks(receiver) == "0 sent"
    message = webhooks.due(receiver)
    assert message is not None
    assert (message.tries, message.body) == (0, "")
