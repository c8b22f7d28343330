"""Messages that no worker could handle: set aside, or sent to a queue that no worker reads."""

from collections.abc import Iterator

from redis import Redis
from redis.exceptions import NoPermissionError

from tasks.producer.producer import Producer
from worker.intake.messages import MalformedMessageError, read_message
from worker.intake.set_aside import SetAsideMessages
from worker.intake.submission_queue import SubmissionQueue, messages_in, move_message
from worker.ledger.connections.clients import connect_to_broker

DEFAULT_QUEUE = "celery"
"""The queue to which Celery sends a task when its caller names none."""
MAX_SCANNED = 1000
"""The most messages of each priority that are read from the default queue."""


def misplaced_submissions(producer: Producer) -> int:
    """Count the submissions in Celery's default queue, where no worker of the service reads them.

    Raises:
        RedisError: The broker does not answer.
    """
    with connect_to_broker(producer.settings) as broker:
        return sum(1 for _ in _misplaced(broker))


def return_messages(producer: Producer) -> int:
    """Put the messages that were set aside, and misplaced submissions, back into the queue.

    Returns:
        How many messages were put back.

    Raises:
        RedisError: The broker or the records' server does not answer.
    """
    settings = producer.settings.redis
    aside = SetAsideMessages(producer.ledger)
    returned = 0
    with connect_to_broker(producer.settings) as broker:
        queue = SubmissionQueue(broker, settings.submit_queue, settings.namespace, "producer")
        for digest in aside.digests():
            returned += aside.give_back(digest, queue.put)
        for raw in list(_misplaced(broker)):
            move_message(broker, raw, DEFAULT_QUEUE, settings.submit_queue)
            returned += 1
    return returned


def _misplaced(broker: Redis) -> Iterator[bytes]:
    try:
        found = list(messages_in(broker, DEFAULT_QUEUE, MAX_SCANNED))
    except NoPermissionError:
        return  # The user of the service may have no right to read the queue of other services.
    for raw in found:
        try:
            message = read_message(raw)
        except MalformedMessageError:
            continue
        if message.task == "tasks.submit":
            yield raw
