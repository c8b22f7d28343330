"""What the delivery of webhooks reports."""

from tasks.outbox import webhook_delivery
from worker.ledger.model.submissions import NewJob
from worker.ledger.webhooks import Webhooks
from worker.runtime.runtime import Runtime


def test_the_webhook_of_a_deleted_record_is_dropped_and_does_not_count_as_sent(
    runtime: Runtime,
) -> None:
    ledger, webhooks = runtime.ledger, Webhooks(runtime.ledger)
    payload = {"image": "a.jpg", "webhook": "http://127.0.0.1:1/"}
    ledger.submit(NewJob(id="j", payload=payload, fingerprint="f"))
    assert ledger.cancel("j") == "CANCELLED"
    ledger.redis.delete(ledger.key("job", "j"))
    (receiver,) = webhooks.lease_receivers()
    assert webhook_delivery.deliver_webhooks(receiver) == "0 sent"
    assert webhooks.due(receiver) is None
