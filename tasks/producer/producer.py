"""The producer's side of the queue: enqueue, follow and steer jobs and batches from Python.

Jobs are submitted with the rights of the caller: local files are read and copied into the media
store. Other services, whose paths are not to be trusted, send ``tasks.submit`` instead.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as NoAnswer

from config.settings import Settings, get_settings
from tasks.producer.local_files import LocalFiles, copy_to
from tasks.producer.submission import new_job, raise_for_conflict
from tasks.schema.errors import RedisUnavailable, UnknownId
from tasks.schema.payload import Batch, ImageJob, InvalidPayloadError, Result
from tasks.schema.records import batch_of, result_of
from worker.ledger.connection import connect
from worker.ledger.ledger import Ledger
from worker.ledger.model.batches import placeholder_batch
from worker.ledger.model.jobs import UnreadableRecordError
from worker.ledger.model.states import Reason, State
from worker.ledger.model.verdicts import CancelVerdict, ReleaseVerdict, RetryVerdict, SubmitVerdict
from worker.ledger.pages import PAGE_SIZE, pages
from worker.storage.store import Store

POLL_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Submission:
    """What became of one submission; ``state`` is where the job stands.

    A job whose record was pruned stands where it ended; its key still keeps it from being paid
    for a second time.
    """

    job_id: str
    state: State
    duplicate: bool
    pruned: bool = False

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it; ``pruned`` only where it is so."""
        told = {"job_id": self.job_id, "state": self.state.value, "duplicate": self.duplicate}
        return {**told, "pruned": True} if self.pruned else told


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a wish: how many jobs changed, and why the others did not."""

    id: str
    changed: int
    skipped: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Producer:
    """The jobs of one namespace, seen from outside the workers."""

    settings: Settings
    ledger: Ledger
    media: Store
    output: Store

    @classmethod
    def open(cls, settings: Settings) -> "Producer":
        """Build one from the settings. Nothing is sent yet."""
        return cls(
            settings=settings,
            ledger=Ledger(
                connect(settings),
                settings.redis.namespace,
                lease_seconds=settings.timing.lease_seconds,
            ),
            media=Store(settings.storage.media_url),
            output=Store(settings.storage.output_url),
        )

    @contextmanager
    def redis_errors(self) -> Iterator[None]:
        """Say what to do when Redis does not answer, or refuses: a full disk, no memory.

        Raises:
            RedisUnavailable: It does.
        """
        try:
            yield
        except (NoConnection, NoAnswer) as error:
            parts = urlsplit(self.settings.redis.url.get_secret_value())
            raise RedisUnavailable(
                f"Redis does not answer at {parts.hostname or parts.path}:{parts.port or 6379} "
                f"({type(error).__name__}). Start one with `reelqueue valkey`, or set REDIS_URL."
            ) from None
        except RedisError as error:
            raise RedisUnavailable(
                f"Redis refuses: {error}. Look at it with `reelqueue doctor`."
            ) from None

    def ping(self) -> None:
        """See that Redis answers.

        Raises:
            RedisUnavailable: It does not.
        """
        with self.redis_errors():
            self.ledger.redis.ping()

    def clip_price(self) -> float:
        """What a clip is expected to cost, in credits: as on the account where it costs most.

        Raises:
            RedisUnavailable: Redis does not answer.
        """
        with self.redis_errors():
            accounts = self.ledger.accounts()
        at_least = float(self.settings.api.clip_cost)
        return max((account.price(at_least) for account in accounts), default=at_least)

    def places(self) -> int:
        """The jobs that would run at once by the settings, while no worker says how many do."""
        return self.settings.limits.account_in_flight * max(1, len(self.settings.api.tokens))

    # --- submitting ------------------------------------------------------------------------

    def submit(self, job: ImageJob | Mapping[str, Any], folder: Path | None = None) -> Submission:
        """Copy the job's local files into the media store, and enqueue it.

        Args:
            job: The payload.
            folder: Where relative paths start; the working directory if None.

        Raises:
            InvalidPayloadError: The payload or a file of it is refused.
            KeyConflict: The key is known with another payload.
            RedisUnavailable: Redis does not answer.
        """
        self.ping()
        payload = job if isinstance(job, ImageJob) else ImageJob.read(job)
        self.refuse_webhook(payload.webhook)
        return self.enqueue(LocalFiles(copy_to(self.media), folder).replace_in(payload))

    def enqueue(self, job: ImageJob) -> Submission:
        """Enqueue a job as it is; no file is read.

        Raises:
            InvalidPayloadError: It asks for a webhook, and none can be signed.
            KeyConflict: The key is known with another payload.
            RedisUnavailable: Redis does not answer.
        """
        self.refuse_webhook(job.webhook)
        with self.redis_errors():
            answer = self.ledger.submit(new_job(job))
            raise_for_conflict(job, answer)
            if answer.verdict is SubmitVerdict.DUPLICATE:
                return self.known(answer.job_id, job.key or "")
        return Submission(answer.job_id, State.QUEUED, duplicate=False)

    def known(self, job_id: str, key: str) -> Submission:
        """What is told of a job that its key has named before."""
        job = next(self.ledger.jobs([job_id]), None)
        ended = self.ledger.tombstone(key) if job is None else None
        if ended is not None:
            return Submission(job_id, ended, duplicate=True, pruned=True)
        return Submission(job_id, job.state if job else State.QUEUED, duplicate=True)

    def refuse_webhook(self, webhook: str | None) -> None:
        """Refuse a webhook that nobody could sign.

        Raises:
            InvalidPayloadError: There is one, and there is no secret.
        """
        if webhook and self.settings.egress.webhook_secret is None:
            raise InvalidPayloadError(
                ["webhook: cannot be signed; set REELQUEUE_WEBHOOK_SECRET here and at the workers"]
            )

    # --- reading -----------------------------------------------------------------------------

    def get(self, job_id: str) -> Result:
        """The record of a job.

        Raises:
            UnknownId: There is no such job.
            RedisUnavailable: Redis does not answer.
        """
        with self.redis_errors():
            job = next(self.ledger.jobs([job_id]), None)
        if job is None:
            raise UnknownId(f"There is no job {job_id}.")
        return result_of(job, self.output)

    def get_many(self, job_ids: Iterable[str]) -> Iterator[Result]:
        """The records of many jobs, in order; those that are gone are left out."""
        for chunk in pages(job_ids):
            with self.redis_errors():
                jobs = list(self.ledger.jobs(chunk))
            yield from (result_of(job, self.output) for job in jobs)

    def get_batch(self, batch_id: str) -> Batch:
        """The record of a batch.

        Raises:
            UnknownId: There is no such batch.
            RedisUnavailable: Redis does not answer.
        """
        with self.redis_errors():
            batch = self.ledger.batch(batch_id)
            pace, flows = self.ledger.pace(), self.ledger.flows()
        if batch is None:
            raise UnknownId(f"There is no batch {batch_id}.")
        return batch_of(batch, clip_cost=self.clip_price(), pace=pace, flows=flows)

    def jobs_of(self, batch_id: str) -> Iterator[Result]:
        """The records of a batch's jobs, in the order of its rows; a page at a time."""
        return self.get_many(self._listed(self.ledger.key("rows", batch_id), newest_first=False))

    def recent(self) -> Iterator[Result]:
        """The records of all jobs, newest first, read as far as they are asked for."""
        return self.get_many(self._listed(self.ledger.key("jobs"), newest_first=True))

    def _listed(self, index: str, *, newest_first: bool) -> Iterator[str]:
        """The ids in an index, however many; what joins it meanwhile makes none come twice."""
        last: set[str] = set()
        start = 0
        while True:
            with self.redis_errors():
                page = list(
                    self.ledger.redis.zrange(index, start, start + PAGE_SIZE - 1, desc=newest_first)
                )
            if not page:
                return
            yield from (job_id for job_id in page if job_id not in last)
            last, start = set(page), start + len(page)

    def batches(self) -> Iterator[Batch]:
        """The records of all batches, newest first."""
        with self.redis_errors():
            batch_ids = self.ledger.batch_ids()
        return map(self._listed_batch, batch_ids)

    def _listed_batch(self, batch_id: str) -> Batch:
        try:
            return self.get_batch(batch_id)
        except UnreadableRecordError as error:
            remains = placeholder_batch(batch_id, str(error))
            return batch_of(remains, clip_cost=0, pace=self.ledger.pace(), flows={})

    def is_batch(self, any_id: str) -> bool:
        """Whether an id is a batch's, not a job's.

        Raises:
            UnknownId: It is neither's.
            RedisUnavailable: Redis does not answer.
        """
        with self.redis_errors():
            if self.ledger.batch(any_id) is not None:
                return True
            if next(self.ledger.jobs([any_id]), None) is not None:
                return False
        raise UnknownId(f"There is no job and no batch {any_id}.")

    def wait(self, job_id: str, timeout: float | None = None) -> Result:
        """Wait until a job is at an end, or held.

        Args:
            job_id: The job.
            timeout: Seconds; None waits for as long as it takes.

        Raises:
            TimeoutError: The time is over. The job goes on.
            UnknownId: There is no such job.
            RedisUnavailable: Redis does not answer.
        """
        end = None if timeout is None else time.monotonic() + timeout
        pause = threading.Event()
        while True:
            result = self.get(job_id)
            if result.ended_or_held:
                return result
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(f"{job_id} is still {result.state} after {timeout:g} s.")
            pause.wait(POLL_SECONDS)

    # --- steering ----------------------------------------------------------------------------

    def cancel(self, any_id: str) -> Change:
        """End a job, or all of a batch that are not at an end. What is paid goes on to its clip.

        Raises:
            UnknownId: It is neither a job nor a batch.
            RedisUnavailable: Redis does not answer.
        """
        if not self.is_batch(any_id):
            with self.redis_errors():
                return _summed(any_id, [self.ledger.cancel(any_id)])
        with self.redis_errors():
            # What waits first: so it cannot start meanwhile.
            verdicts = list(self.ledger.cancel_waiting(any_id))
            # What is paid was asked already, or is asked now; it is counted once.
            verdicts = [found for found in verdicts if found is not CancelVerdict.REQUESTED]
            for page in self.ledger.row_states(any_id):
                left = [job.job_id for job in page if not job.state.is_end]
                verdicts += self.ledger.cancel_many(left)
        return _summed(any_id, verdicts)

    def retry(self, any_id: str) -> Change:
        """Let a failed job, or the failed ones of a batch, go on. Nothing is paid twice.

        Raises:
            UnknownId: It is neither a job nor a batch.
            RedisUnavailable: Redis does not answer.
        """
        return self._change(any_id, self.ledger.retry_many, State.FAILED)

    def release(self, any_id: str, *, mode: str = "", who: str = "") -> Change:
        """Let a held job, or the held ones of a batch, go on.

        Args:
            any_id: The job or the batch.
            mode: For an unknown outcome: ``pay_again`` or ``as_done``.
            who: Who decided, for the record.

        Raises:
            UnknownId: It is neither a job nor a batch.
            RedisUnavailable: Redis does not answer.
        """
        return self._change(
            any_id,
            lambda job_ids: self.ledger.release_many(job_ids, mode=mode, who=who),
            State.HELD,
        )

    def release_reason(self, reason: Reason, *, mode: str = "", who: str = "") -> Change:
        """Let all jobs go on that are held for a reason.

        Raises:
            RedisUnavailable: Redis does not answer.
        """
        with self.redis_errors():
            held = self.ledger.held_ids(reason)
            verdicts = self.ledger.release_many(held, mode=mode, who=who)
        return _summed(reason.value, verdicts)

    def release_set_aside(self) -> Change:
        """Let all jobs go on that were set aside and can be read now.

        Raises:
            RedisUnavailable: Redis does not answer.
        """
        with self.redis_errors():
            verdicts = self.ledger.release_many(self.ledger.set_aside())
        return _summed("set-aside", verdicts)

    def pause(self, batch_id: str) -> bool:
        """Let no further job of a batch start. False: there is no such batch."""
        with self.redis_errors():
            return self.ledger.pause(batch_id)

    def resume(self, batch_id: str) -> bool:
        """Let the jobs of a batch start again. False: there is no such batch."""
        with self.redis_errors():
            return self.ledger.resume(batch_id)

    def _change(
        self, any_id: str, change: Callable[[list[str]], Sequence[str]], concerned: State
    ) -> Change:
        """Change one job, or those of a batch that stand where the change concerns them."""
        if not self.is_batch(any_id):
            with self.redis_errors():
                return _summed(any_id, change([any_id]))
        verdicts: list[str] = []
        with self.redis_errors():
            for page in self.ledger.row_states(any_id):
                verdicts.extend(change([job.job_id for job in page if job.state is concerned]))
        return _summed(any_id, verdicts)


CHANGED: Final[frozenset[str]] = frozenset(
    {
        ReleaseVerdict.OK,
        RetryVerdict.OK,
        CancelVerdict.CANCELLED,
        CancelVerdict.REQUESTED,
    }
)
"""The ledger's words for a wish that was granted."""


def _summed(any_id: str, verdicts: Iterable[str]) -> Change:
    counts = Counter(verdicts)
    return Change(
        id=any_id,
        changed=sum(n for verdict, n in counts.items() if verdict in CHANGED),
        skipped={verdict.lower(): n for verdict, n in counts.items() if verdict not in CHANGED},
    )


@lru_cache(maxsize=1)
def default_producer() -> Producer:
    """The producer of this process's settings, opened at the first use."""
    return Producer.open(get_settings())
