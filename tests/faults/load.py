"""The load of a campaign: jobs, and duplicated and dropped wake-up messages."""

import hashlib
import random
from collections import Counter
from pathlib import Path
from typing import Final

from celery import Celery
from PIL import Image

from tests.faults.plan import Plan
from worker.ledger.ledger import Ledger
from worker.ledger.model.submissions import NewJob

WAKEUPS: Final = "rq.wakeups"
DUPLICATED: Final = "wake-up messages duplicated"
DROPPED: Final = "wake-up messages dropped"


def submit_job(ledger: Ledger, folder: Path, number: int, **payload: str) -> tuple[str, str]:
    """Submit a job with a picture of its own; return its id and the picture's SHA-256."""
    path = folder / f"p{number}.png"
    if not path.exists():
        Image.new("RGB", (64, 64), (number % 256, number // 256 % 256, 90)).save(path)
    job_id = f"job-{number}"
    fields = {"image": str(path), "prompt": "a 1-second push-in", "language": "en", **payload}
    ledger.submit(NewJob(id=job_id, payload=fields, fingerprint=job_id))
    return job_id, hashlib.sha256(path.read_bytes()).hexdigest()


class Load:
    """Submits jobs, and duplicates and drops wake-up messages, as a plan says.

    Attributes:
        inputs: The SHA-256 of each submitted job's picture, by the job's id.
        counts: How many wake-up messages were duplicated and dropped.
    """

    def __init__(
        self, plan: Plan, rng: random.Random, ledger: Ledger, broker: Celery, folder: Path
    ) -> None:
        self.inputs: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self._plan = plan
        self._rng = rng
        self._ledger = ledger
        self._broker = broker
        self._folder = folder

    def submit(self, share: float) -> None:
        """Submit jobs up to a share (0-1) of the plan's; one that fails is repeated later."""
        while len(self.inputs) < int(self._plan.jobs * share):
            job_id, sha256 = submit_job(self._ledger, self._folder, len(self.inputs))
            self.inputs[job_id] = sha256

    def duplicate(self, share: float) -> None:
        """Send two to five wake-up messages for jobs on the agenda, up to a share of the plan's."""
        while self.counts[DUPLICATED] < int(self._plan.duplicated * share):
            job_id = self._ledger.redis.zrandmember(self._ledger.key("agenda"))
            if job_id is None:
                return
            for _ in range(self._rng.randint(2, 5)):
                self._broker.send_task("tasks.render", args=[job_id], queue=WAKEUPS, retry=False)
                self.counts[DUPLICATED] += 1

    def drop(self, share: float) -> None:
        """Take wake-up messages out of the queue, if there are any, up to a share of the plan's."""
        while self.counts[DROPPED] < int(self._plan.dropped * share):
            if self._ledger.redis.rpop(WAKEUPS) is None:
                return
            self.counts[DROPPED] += 1
