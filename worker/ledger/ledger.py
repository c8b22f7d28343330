"""The ledger: every write of the job records, by way of the scripts.

The record in Redis is the only truth about a job. Each method that changes something is one
script, safe to run twice, because a lost reply makes the client run it again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

from worker.faultpoints import around
from worker.ledger.model.states import PRIORITY_WEIGHTS, Reason, State
from worker.ledger.model.submissions import NewJob, SubmitResult, as_argument
from worker.ledger.model.verdicts import (
    CancelVerdict,
    ClaimVerdict,
    ReleaseVerdict,
    RetryVerdict,
    SessionVerdict,
    SubmitVerdict,
)
from worker.ledger.pages import PAGE_SIZE, pages
from worker.ledger.reader import Reader

LEASE_MARGIN_MS: Final = 1000
"""From the end of a lease to the first look at the job by somebody else."""
WAKEUPS_PER_LEASE: Final = 8
"""How often in a lease a job that nobody takes is handed out, while few hints wait."""
DECLINES_PER_LEASE: Final = 16
"""How often in a lease a job may come back from workers that take nothing now."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The answer to a claim: OK with the record, or why not."""

    verdict: ClaimVerdict
    record: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SessionAcquisition:
    """The answer to a job that joins a session: OK with its record, or why not and who is meant."""

    verdict: SessionVerdict
    waits_for: str = ""
    record: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Commit:
    """The end of a step: what the record says from here on."""

    state: State
    delay: float = 0.0  # seconds
    reason: Reason | None = None
    message: str = ""
    remedy: str = ""
    resume: State | None = None
    outcome: str = ""
    facts: Mapping[str, str] | None = None


def commit_arguments(job_id: str, fence: int, end: Commit, *, nonce: str) -> list[object]:
    """The end of a step as the script takes it. A repeated run with the same nonce is harmless."""
    facts = {**(end.facts or {}), "message": end.message, "remedy": end.remedy}
    return [
        job_id,
        fence,
        nonce,
        end.state,
        int(end.delay * 1000),
        end.reason or "",
        end.resume or "",
        end.outcome,
        *_pairs(facts),
    ]


class Ledger(Reader):
    """Job, batch and account records of one namespace: read by its base, written here."""

    # --- submitting ------------------------------------------------------------------------

    def submit(self, job: NewJob) -> SubmitResult:
        """Write one job as queued, or find the one that its key names."""
        verdict, job_id = self.scripts.run("submit", as_argument([job]))
        return SubmitResult(SubmitVerdict(verdict), job_id)

    def submit_pages(self, jobs: Iterable[Sequence[NewJob]]) -> Iterator[list[SubmitResult]]:
        """Write pages of at most ``PAGE_SIZE`` jobs, each in one run of the script.

        A page is asked for before the answers to the one before are there, so that it is made
        while the server writes.
        """
        for flat in self.scripts.run_pipelined("submit", ([as_argument(page)] for page in jobs)):
            yield [
                SubmitResult(SubmitVerdict(verdict), job_id)
                for verdict, job_id in zip(flat[::2], flat[1::2], strict=True)
            ]

    def open_batch(self, batch_id: str, name: str, created_at: int, source: str = "") -> None:
        """Make a batch record, if it is new. ``source`` says where its manifest lies."""
        with around("batch.open"), self.redis.pipeline() as pipe:
            pipe.hsetnx(self.key("batch", batch_id), "name", name)
            pipe.hsetnx(self.key("batch", batch_id), "created_at", str(created_at))
            pipe.hsetnx(self.key("batch", batch_id), "source", source)
            pipe.zadd(self.key("batches"), {batch_id: created_at}, nx=True)
            pipe.execute()

    def set_budget(self, batch_id: str, max_credits: float) -> None:
        """Set the most that a batch may spend, in all."""
        self.redis.hset(self.key("batch", batch_id), "max_credits", str(max_credits))

    def set_pilot(self, batch_id: str, rows: int) -> None:
        """Let so many more jobs of a batch start, and then pause it."""
        self.resume(batch_id)
        self.redis.hset(self.key("batch", batch_id), "pilot", str(rows))

    def seal_batch(self, batch_id: str) -> None:
        """Say that the batch's manifest is wholly in."""
        self.scripts.run("seal", batch_id, point="batch.seal")

    def unseal_batch(self, batch_id: str, webhook: str | None = None) -> None:
        """Say that rows of a manifest come: the batch does not end before it is sealed.

        Args:
            batch_id: The batch.
            webhook: Who is told of its end, from now on; None leaves it as it is.
        """
        fields = {"sealed": "0", "unsealed_at": str(self.now_ms())}
        if webhook:
            fields["webhook"] = webhook
        self.redis.hset(self.key("batch", batch_id), mapping=fields)

    def pause(self, batch_id: str) -> bool:
        """Let no further job of the batch start. False: no such batch."""
        return bool(self.scripts.run("flow_gate", batch_id, 1) == "OK")

    def resume(self, batch_id: str) -> bool:
        """Let the batch's jobs start again. False: no such batch."""
        return bool(self.scripts.run("flow_gate", batch_id, 0) == "OK")

    # --- the ticker --------------------------------------------------------------------------

    def due(
        self, n: int, *, room: int, admit: int, redispatch_after: float | None = None
    ) -> list[tuple[str, State]]:
        """What to hand out now: ids and their states, the agenda before the flows.

        Args:
            n: The most of them.
            room: Free places in the Celery queue.
            admit: The most jobs from prepare to settle.
            redispatch_after: Seconds until a job that nobody took comes up again; None: a lease.
        """
        redispatch_ms = self.lease_ms if redispatch_after is None else int(redispatch_after * 1000)
        flat = self.scripts.run("due", n, redispatch_ms, room, admit, self.lease_ms)
        return [(flat[i], State(flat[i + 1])) for i in range(0, len(flat), 2)]

    def acknowledge_notification(self, entry: str, revision: int) -> None:
        """Take an entry out of the outbox, unless its job has moved on since."""
        self.scripts.run("outbox_ack", entry, revision, -1)

    def drop_notification(self, entry: str) -> None:
        """Take an entry out whose record nobody can read."""
        self.redis.zrem(self.key("outbox"), entry)

    def postpone_notification(self, entry: str, delay: float) -> None:
        """Put an entry off, in seconds."""
        self.scripts.run("outbox_ack", entry, 0, int(delay * 1000))

    # --- a step ------------------------------------------------------------------------------

    def claim(self, job_id: str, owner: str, nonce: str) -> Claim:
        """Ask for the ownership of a job for one lease."""
        suspect_delay = self.lease_ms // WAKEUPS_PER_LEASE
        reply = self.scripts.run(
            "claim", job_id, owner, nonce, self.lease_ms, LEASE_MARGIN_MS, suspect_delay
        )
        flat = reply[1] if len(reply) > 1 else []
        return Claim(ClaimVerdict(reply[0]), dict(zip(flat[::2], flat[1::2], strict=True)))

    def decline(self, job_id: str) -> str:
        """Let a job that was handed to a worker in vain come up again soon: OK, GONE or BUSY."""
        return str(self.scripts.run("decline", job_id, self.lease_ms // DECLINES_PER_LEASE))

    def heartbeat(self, leases: Iterable[tuple[str, int]]) -> list[bool]:
        """Push the leases of (job id, fence) on; False for each that is lost."""
        calls = ((job_id, fence, self.lease_ms, LEASE_MARGIN_MS) for job_id, fence in leases)
        return [reply == "OK" for reply in self.scripts.run_many("heartbeat", calls)]

    def update_facts(self, job_id: str, fence: int, facts: Mapping[str, str]) -> bool:
        """Write facts in the middle of a step. False: the lease is lost."""
        point = f"update_facts.{next(iter(facts))}"
        reply = self.scripts.run("update_facts", job_id, fence, *_pairs(facts), point=point)
        return bool(reply == "OK")

    def commit(self, job_id: str, fence: int, end: Commit) -> bool:
        """End a step. False: the lease is lost, and nothing was written."""
        arguments = commit_arguments(job_id, fence, end, nonce=uuid4().hex)
        reply = self.scripts.run("commit", *arguments, point=f"commit.{end.state}")
        return bool(reply == "OK")

    # --- sessions that several jobs use ------------------------------------------------------

    def set_session_mode(self, batch_id: str, mode: str) -> str:
        """Say once how a batch uses sessions, ``own`` or ``shared``; the mode that it has."""
        self.redis.hsetnx(self.key("batch", batch_id), "session", mode)
        return str(self.redis.hget(self.key("batch", batch_id), "session"))

    def acquire_session(self, job_id: str, fence: int) -> SessionAcquisition:
        """Bring a job into the session that it is to work in, and take the session for it."""
        reply = self.scripts.run("acquire_session", job_id, fence)
        verdict = SessionVerdict(reply[0])
        if verdict is SessionVerdict.OK:
            record = dict(zip(reply[1][::2], reply[1][1::2], strict=True))
            return SessionAcquisition(verdict, record=record)
        return SessionAcquisition(verdict, waits_for=reply[1] if len(reply) > 1 else "")

    def share_session(self, job_id: str, fence: int) -> bool:
        """Make the job's session its batch's. False: the lease is lost."""
        return bool(self.scripts.run("share_session", job_id, fence) == "OK")

    # --- people ------------------------------------------------------------------------------

    def cancel(self, job_id: str) -> CancelVerdict:
        """Cancel a job, or request that it is cancelled once its step has ended."""
        return self.cancel_many([job_id])[0]

    def cancel_many(self, job_ids: Iterable[str]) -> list[CancelVerdict]:
        """As ``cancel``, of many jobs, a page in one run of the script."""
        return [
            CancelVerdict(verdict)
            for page in pages(job_ids)
            for verdict in self.scripts.run("cancel", *page)
        ]

    def cancel_waiting(self, batch_id: str) -> Iterator[CancelVerdict]:
        """As ``cancel``, of the jobs that wait in a batch's flows, whatever their number."""
        for priority in PRIORITY_WEIGHTS:
            flow = f"{batch_id}:{priority}"
            left = self.redis.llen(self.key("flow", flow))
            while left > 0:
                verdicts = self.scripts.run("cancel_waiting", flow, min(left, PAGE_SIZE))
                if not verdicts:
                    break
                left -= len(verdicts)
                yield from map(CancelVerdict, verdicts)

    def release(self, job_id: str, *, mode: str = "", who: str = "") -> ReleaseVerdict:
        """Let a held job go on, or one that had been set aside and can be read now."""
        return ReleaseVerdict(self.scripts.run("release", job_id, mode, who))

    def release_many(
        self, job_ids: Iterable[str], *, mode: str = "", who: str = ""
    ) -> list[ReleaseVerdict]:
        """As ``release``, of many jobs, a page in one round trip."""
        return [
            ReleaseVerdict(verdict)
            for page in pages(job_ids)
            for verdict in self.scripts.run_many("release", [(id_, mode, who) for id_ in page])
        ]

    def retry(self, job_id: str) -> RetryVerdict:
        """Continue a failed job at the first step that is missing."""
        return RetryVerdict(self.scripts.run("retry", job_id))

    def retry_many(self, job_ids: Iterable[str]) -> list[RetryVerdict]:
        """As ``retry``, of many jobs, a page in one round trip."""
        return [
            RetryVerdict(verdict)
            for page in pages(job_ids)
            for verdict in self.scripts.run_many("retry", [(job_id,) for job_id in page])
        ]

    def store_bind_id(self, account: str, bind_id: str) -> None:
        """Keep what binds an anonymous account to a registered one: the first word stands."""
        self.redis.hsetnx(self.key("account", account), "bind_id", bind_id)


def _pairs(facts: Mapping[str, str]) -> list[str]:
    return [part for pair in facts.items() for part in pair]
