"""The person of a campaign, who decides about messages of unknown outcome."""

from collections import Counter
from typing import Final

from redis.exceptions import RedisError

from tasks.producer.actions import release
from tasks.producer.producer import Producer
from tasks.schema.errors import RedisUnavailable, UnknownId
from worker.journal.stores import JournalFailed
from worker.ledger.model.states import Reason

WHO: Final = "the campaign"


class Person:
    """Decides that a few messages are paid again, as `reelqueue release --pay-again` does.

    Attributes:
        decided: How often that was decided about each job.
    """

    def __init__(self, producer: Producer, most: int) -> None:
        """Take as many decisions as ``most`` at the most."""
        self.decided: Counter[str] = Counter()
        self._producer = producer
        self._most = most

    def decide(self, share: float) -> None:
        """Decide about held jobs, up to a share (0-1) of the decisions."""
        if self.decided.total() >= int(self._most * share):
            return
        for job_id in self._producer.ledger.held_ids(Reason.OUTCOME_UNKNOWN)[:1]:
            try:
                change = release(self._producer, job_id, mode="pay_again", who=WHO)
            except (RedisError, RedisUnavailable, JournalFailed):
                # It may have been recorded.
                self.decided[job_id] += 1
            except UnknownId:
                return
            else:
                self.decided[job_id] += change.changed
