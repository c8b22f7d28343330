"""Webhooks: send one receiver the webhooks that it is owed, one after another.

A receiver has one worker at most, and rests after each failure, so that one which is slow or dead
costs a single slot now and then, and no job and no other receiver waits for it.
"""

import json
import time
from datetime import UTC, datetime
from typing import Any, Final

import sentry_sdk
import structlog

from tasks.producer import queries
from tasks.producer.producer import Producer
from tasks.schema.errors import UnknownId
from worker.egress.webhook_request import WebhookDeliveryError, retry_delay, send, signature_headers
from worker.ledger.model.jobs import UnreadableRecordError
from worker.ledger.webhooks import WebhookMessage, Webhooks
from worker.runtime.runtime import Runtime, get_runtime

log = structlog.get_logger(__name__)

TURN_SECONDS: Final = 10.0
"""After so long a receiver's next message waits for the receiver's next turn."""
REST_SECONDS: Final = 5.0


def deliver_webhooks(receiver: str) -> str:
    """Send what is due, until nothing is left, a message fails or the turn is over."""
    runtime = get_runtime()
    hooks = Webhooks(runtime.ledger)
    end = time.monotonic() + TURN_SECONDS
    sent, rest = 0, 0.0
    while not rest and not runtime.status.draining and time.monotonic() < end:
        hook = hooks.due(receiver)
        if hook is None:
            break
        if _send(runtime, hooks, hook):
            sent += 1
        else:
            rest = REST_SECONDS
    hooks.release_receiver(receiver, rest)
    return f"{sent} sent"


def _send(runtime: Runtime, hooks: Webhooks, hook: WebhookMessage) -> bool:
    """Send one message, and note what became of it. Whether the receiver is well."""
    body = hook.body or _body(runtime, hook)
    if body is None:
        log.warning("a webhook is dropped: its record is gone", webhook_id=hook.name)
        hooks.give_up(hook, "its record is gone")
        return True
    if not hook.body:
        hooks.store_body(hook, body)
    try:
        _post(runtime, hook, body.encode())
    except WebhookDeliveryError as error:
        _try_again(hooks, hook, error)
        return False
    except Exception as error:
        # Whatever it is: the receiver's other messages go on, and this one has an end.
        log.exception("sending a webhook met a fault of ours", webhook_id=hook.name)
        sentry_sdk.capture_exception(error)
        fault = WebhookDeliveryError(f"A fault of this service: {type(error).__name__}")
        _try_again(hooks, hook, fault)
        return False
    hooks.received(hook)
    return True


def _try_again(hooks: Webhooks, hook: WebhookMessage, error: WebhookDeliveryError) -> None:
    """Put a message off that was not received, or give it up."""
    wait = None if error.final else retry_delay(hook.tries + 1)
    if wait is None:
        log.warning("a webhook is given up", webhook_id=hook.name, why=str(error))
        hooks.give_up(hook, str(error))
    else:
        log.info("a webhook is tried again", webhook_id=hook.name, why=str(error), wait=wait)
        hooks.retry_later(hook, wait)


def _post(runtime: Runtime, hook: WebhookMessage, body: bytes) -> None:
    secret = runtime.settings.egress.webhook_secret
    if secret is None:
        raise WebhookDeliveryError("the workers have no REELQUEUE_WEBHOOK_SECRET to sign it with")
    headers = signature_headers(secret, hook.name, int(time.time()), body)
    send(hook.url, headers, body, private_hosts=runtime.settings.egress.private_hosts)


def _body(runtime: Runtime, hook: WebhookMessage) -> str | None:
    """What is said, with the record as it stands now; None: there is none."""
    data = _record(runtime, hook)
    if data is None:
        return None
    happened = datetime.fromtimestamp(hook.at / 1000, UTC).isoformat().replace("+00:00", "Z")
    said = {"type": hook.event, "timestamp": happened, "data": data}
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


def _record(runtime: Runtime, hook: WebhookMessage) -> dict[str, Any] | None:
    producer = Producer.of_worker(runtime)
    try:
        if hook.kind == "batch":
            return queries.get_batch(producer, hook.about).model_dump(mode="json")
        return queries.get(producer, hook.about).model_dump(mode="json")
    except (UnknownId, UnreadableRecordError):
        return None
