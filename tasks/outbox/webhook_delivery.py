"""Deliver webhooks: send a receiver its due messages, one after another.

At most one worker sends to a receiver, and after each failure there is a pause. So a receiver that
is slow or down occupies one slot from time to time, and delays no job and no other receiver.
"""

import json
import time
from datetime import UTC, datetime
from typing import Final

import sentry_sdk
import structlog

from tasks.producer import queries
from tasks.producer.producer import Producer
from tasks.schema.errors import UnknownId
from worker.egress.webhook_request import WebhookDeliveryError, retry_delay, send, signature_headers
from worker.ledger.model.jobs import NewerRecordError, UnreadableRecordError
from worker.ledger.webhooks import WebhookMessage, Webhooks
from worker.runtime.runtime import Runtime, get_runtime

log = structlog.get_logger(__name__)

NEWER_SECONDS: Final = 5.0
"""The pause of a receiver whose message is about a record that only a newer worker can read."""
MAX_DELIVERY_SECONDS: Final = 10.0
"""How long a task sends messages to a receiver. Another task sends the messages after that."""


def deliver_webhooks(receiver: str) -> str:
    """Send messages until none is due or the time is over. A failure pauses the URL's path.

    Returns:
        How many messages were sent, for Flower.
    """
    runtime = get_runtime()
    webhooks = Webhooks(runtime.ledger)
    end = time.monotonic() + MAX_DELIVERY_SECONDS
    sent = 0
    while not runtime.status.draining and time.monotonic() < end:
        message = webhooks.due(receiver)
        if message is None:
            break
        try:
            sent += _deliver(runtime, webhooks, message)
        except NewerRecordError:
            # A newer worker can read the record. The message stays the oldest of its receiver.
            webhooks.release_receiver(receiver, NEWER_SECONDS)
            return f"{sent} sent"
    webhooks.release_receiver(receiver)
    return f"{sent} sent"


def _deliver(runtime: Runtime, webhooks: Webhooks, message: WebhookMessage) -> bool:
    """Send one message and record the result. False if it was not received.

    Raises:
        NewerRecordError: A newer version wrote its record.
    """
    body = message.body or _body(runtime, message)
    if body is None:
        log.warning("webhook dropped", webhook_id=message.name, why="its record is gone")
        webhooks.give_up(message, "its record is gone")
        return False
    if not message.body:
        webhooks.store_body(message, body)
    try:
        _send(runtime, message, body.encode())
    except WebhookDeliveryError as error:
        _retry_or_give_up(webhooks, message, error)
        return False
    except Exception as error:
        # An unexpected error must not stop the other messages of the receiver, or repeat forever.
        log.exception("unexpected exception in webhook delivery", webhook_id=message.name)
        sentry_sdk.capture_exception(error)
        failure = WebhookDeliveryError(f"an unexpected error occurred: {type(error).__name__}")
        _retry_or_give_up(webhooks, message, failure)
        return False
    webhooks.received(message)
    return True


def _body(runtime: Runtime, message: WebhookMessage) -> str | None:
    """Build the body with the current record; None if the record is gone.

    Raises:
        NewerRecordError: A newer version wrote the record of the job.
    """
    producer = Producer.from_runtime(runtime)
    if message.kind == "job":
        _check_version(runtime, message.about)
    get = queries.get_batch if message.kind == "batch" else queries.get
    try:
        record = get(producer, message.about)
    except (UnknownId, UnreadableRecordError):
        return None
    timestamp = datetime.fromtimestamp(message.at / 1000, UTC).isoformat().replace("+00:00", "Z")
    data = record.model_dump(mode="json")
    body = {"type": message.event, "timestamp": timestamp, "data": data}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def _check_version(runtime: Runtime, job_id: str) -> None:
    """Check that no newer version wrote a job's record, which would be sent as a damaged one.

    Raises:
        NewerRecordError: A newer version wrote it.
    """
    try:
        runtime.ledger.job(job_id)
    except NewerRecordError:
        raise
    except UnreadableRecordError:
        return


def _send(runtime: Runtime, message: WebhookMessage, body: bytes) -> None:
    egress = runtime.settings.egress
    if egress.webhook_secret is None:
        raise WebhookDeliveryError("the workers have no REELQUEUE_WEBHOOK_SECRET to sign it with")
    headers = signature_headers(egress.webhook_secret, message.name, int(time.time()), body)
    send(message.url, headers, body, private_hosts=egress.private_hosts)


def _retry_or_give_up(
    webhooks: Webhooks, message: WebhookMessage, error: WebhookDeliveryError
) -> None:
    wait = None if error.final else retry_delay(message.tries + 1)
    if wait is None:
        log.warning("webhook given up", webhook_id=message.name, why=str(error))
        webhooks.give_up(message, str(error))
    else:
        log.info("webhook delayed", webhook_id=message.name, why=str(error), wait=wait)
        webhooks.retry_later(message, wait, str(error))
