"""The load of a campaign: jobs, and wake-up messages and submissions that come twice or not."""

import hashlib
import random
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from celery import Celery
from PIL import Image

from tasks.schema.image_job import job_id_for
from tests.faults.plan import Plan
from tests.support.ledger_access import submit_pages
from worker.ledger.ledger import Ledger
from worker.ledger.model.submissions import NewJob
from worker.ledger.pages import pages

QUEUE: Final = "reelqueue"
WAKEUPS: Final = "rq.wakeups"
DUPLICATED: Final = "wake-up messages duplicated"
DROPPED: Final = "wake-up messages dropped"
DOUBLED: Final = "submissions by message sent twice"
RESENT: Final = "submissions repeated after a loss"
BY_MESSAGE: Final = 4
"""Every fourth input is submitted by message; every second of these has a key."""
RECENT: Final = 20
"""Among how many of the last submissions by message one is chosen to be sent twice."""


@dataclass(frozen=True, slots=True)
class Input:
    """One job to submit, always in the same way.

    Attributes:
        job_id: The id of its job.
        payload: What is submitted.
        sha256: The digest of its picture.
        task_id: The id of its Celery message; "" where it is written into the ledger directly.
    """

    job_id: str
    payload: Mapping[str, str]
    sha256: str
    task_id: str = ""

    @property
    def record(self) -> NewJob:
        """The job in the form in which the ledger takes it."""
        return NewJob(id=self.job_id, payload=self.payload, fingerprint=self.job_id)


def make_input(
    folder: Path, number: int, payload: Mapping[str, str] | None = None, *, by_message: bool = False
) -> Input:
    """Return an input with a picture of its own. ``payload`` adds fields to it."""
    path = folder / f"p{number}.png"
    if not path.exists():
        Image.new("RGB", (64, 64), (number % 256, number // 256 % 256, 90)).save(path)
    fields = {
        "image": str(path),
        "prompt": "a 1-second push-in",
        "language": "en",
        **(payload or {}),
    }
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    if not by_message:
        return Input(f"job-{number}", fields, sha256)
    # Without a key, the id of the message is the key.
    task_id = f"submission-{number}"
    if number // BY_MESSAGE % 2:
        fields["key"] = f"key-{number}"
    return Input(job_id_for(fields.get("key", task_id)), fields, sha256, task_id)


def submit_job(ledger: Ledger, folder: Path, number: int, **payload: str) -> tuple[str, str]:
    """Submit a job with a picture of its own; return its id and the picture's SHA-256."""
    made = make_input(folder, number, payload)
    ledger.submit(made.record)
    return made.job_id, made.sha256


class Load:
    """Submits jobs, and duplicates and drops messages, as a plan says.

    Attributes:
        inputs: All that was submitted, or is about to be.
        counts: How many messages were duplicated and dropped, and submissions repeated.
    """

    def __init__(
        self, plan: Plan, rng: random.Random, ledger: Ledger, broker: Celery, folder: Path
    ) -> None:
        self.inputs: list[Input] = []
        self.counts: Counter[str] = Counter()
        self._plan = plan
        self._rng = rng
        self._ledger = ledger
        self._broker = broker
        self._folder = folder
        self._records: list[Input] = []
        self._messages: deque[Input] = deque()

    @property
    def pictures(self) -> dict[str, str]:
        """The SHA-256 of each input's picture, by the job's id."""
        return {each.job_id: each.sha256 for each in self.inputs}

    @property
    def by_message(self) -> dict[str, str]:
        """The job of each submission by message, by the message's id."""
        return {each.task_id: each.job_id for each in self.inputs if each.task_id}

    @property
    def untaken(self) -> str:
        """Where submissions by message wait or are being worked on; "" where nowhere."""
        redis = self._ledger.redis
        arrived = self._ledger.key("intake.arrived")
        lists = [QUEUE, arrived, *redis.scan_iter("intake.taken:*", count=1000)]
        waiting = {name: number for name in lists if (number := redis.llen(name))}
        return f"submissions are not taken: {waiting}" if waiting else ""

    def send_all_again(self) -> None:
        """Note that Redis has lost data: the producers send every input again."""
        self.counts[RESENT] += len(self.inputs)
        self._records = [each for each in self.inputs if not each.task_id]
        self._messages = deque(each for each in self.inputs if each.task_id)

    def submit(self, share: float) -> None:
        """Submit jobs up to a share (0-1) of the plan's; what fails is repeated later."""
        while len(self.inputs) < int(self._plan.jobs * share):
            number = len(self.inputs)
            new = make_input(self._folder, number, by_message=number % BY_MESSAGE == 0)
            self.inputs.append(new)
            (self._messages if new.task_id else self._records).append(new)
        if self._records:
            every = ([each.record for each in page] for page in pages(self._records))
            list(submit_pages(self._ledger, every))
            self._records.clear()
        while self._messages:
            self._send(self._messages[0])
            self._messages.popleft()

    def double(self, share: float) -> None:
        """Send a submission by message a second time, up to a share of the plan's."""
        sent = [each for each in self.inputs if each.task_id][-RECENT:]
        while sent and self.counts[DOUBLED] < int(self._plan.doubled * share):
            self._send(self._rng.choice(sent))
            self.counts[DOUBLED] += 1

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

    def _send(self, each: Input) -> None:
        self._broker.send_task(
            "tasks.submit",
            args=[dict(each.payload)],
            task_id=each.task_id,
            queue=QUEUE,
            retry=False,
        )
