"""The ledger of one namespace: its job and batch records, and the agenda.

Each change of a job record is one Lua script. Every script is safe to run twice, because the client
repeats a call whose reply was lost. Payments and accounts are in ``payments``, rows of batches in
``rows``, webhooks in ``webhooks``, events for Flower in ``task_events``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Any, Final
from uuid import uuid4

from worker.faultpoints import faultpoint
from worker.ledger.model.jobs import VERSION
from worker.ledger.model.states import PRIORITY_WEIGHTS, State
from worker.ledger.model.steps import (
    Claim,
    Commit,
    CommitReply,
    NextClaim,
    SessionAcquisition,
    commit_arguments,
    field_pairs,
)
from worker.ledger.model.submissions import NewJob, SubmitResult, as_argument, as_results
from worker.ledger.model.verdicts import (
    CancelVerdict,
    ClaimVerdict,
    CommitVerdict,
    ReleaseVerdict,
    RetryVerdict,
    SessionVerdict,
)
from worker.ledger.pages import MOVES_PER_CALL, pages
from worker.ledger.reader import Reader

LEASE_MARGIN_MS: Final = 1000
"""From the end of a lease until another worker may claim the job, in ms."""
HEARTBEATS_PER_CALL: Final = 100
"""The most leases that one script extends."""
WAKEUPS_PER_LEASE: Final = 8
"""How often in a lease a job that no worker claims gets a wake-up message, while few are queued."""
DECLINES_PER_LEASE: Final = 16
"""How often in a lease a job that workers decline becomes due again."""


class Ledger(Reader):
    """Writes job, batch and account records of one namespace; the base class reads them."""

    # --- submitting ------------------------------------------------------------------------

    def submit(self, job: NewJob) -> SubmitResult:
        """Write one job as queued, unless its key or id is known.

        Raises:
            NotReplicatedError: Too few replicas confirmed the record. The call may be repeated.
        """
        (result,) = as_results(self.scripts.run_confirmed("submit", as_argument([job])))
        return result

    def open_batch(self, batch_id: str, name: str, created_at: int, source: str = "") -> None:
        """Create a batch record if it is new. ``source`` is the location of its manifest."""
        with faultpoint("batch.open"), self.redis.pipeline() as pipe:
            pipe.hsetnx(self.key("batch", batch_id), "name", name)
            pipe.hsetnx(self.key("batch", batch_id), "created_at", str(created_at))
            pipe.hsetnx(self.key("batch", batch_id), "source", source)
            pipe.zadd(self.key("batches"), {batch_id: created_at}, nx=True)
            pipe.execute()

    def restore_batch(self, batch_id: str, *, shared: bool) -> None:
        """Create a batch that the ledger has lost; its manifest's next submission completes it."""
        key = self.key("batch", batch_id)
        now = self.now_ms()
        with self.redis.pipeline() as pipe:
            pipe.hsetnx(key, "created_at", str(now))
            if shared:
                pipe.hsetnx(key, "session", "shared")
            pipe.zadd(self.key("batches"), {batch_id: now}, nx=True)
            pipe.execute()

    def set_budget(self, batch_id: str, max_credits: float) -> None:
        """Set the most credits that a batch may spend in all."""
        self.redis.hset(self.key("batch", batch_id), "max_credits", str(max_credits))

    def set_pilot(self, batch_id: str, rows: int) -> None:
        """Resume a batch and pause it again after ``rows`` more jobs have started."""
        self.scripts.run("flow_gate", batch_id, 0, rows)

    def schedule(self, batch_id: str, not_before: int) -> None:
        """Start no job of a batch before a time, in ms of the server's clock; 0 for now."""
        self.scripts.run("schedule", batch_id, max(0, not_before), point="flow_gate")

    def seal_batch(self, batch_id: str, submission: str = "") -> None:
        """Mark the batch's manifest as complete, by a submission of it: the batch can end."""
        self.scripts.run("seal", batch_id, submission, point="batch.seal")

    def unseal_batch(self, batch_id: str, webhook: str = "", submission: str = "") -> None:
        """Mark the batch's manifest as incomplete: the batch does not end until it is sealed.

        Its end is sent to ``webhook``, if one is given. A submission of the manifest that has
        sealed the batch changes nothing.
        """
        self.scripts.run("unseal", batch_id, submission, webhook, point="batch.seal")

    def pause(self, batch_id: str) -> bool:
        """Start no further job of the batch. False: there is no such batch."""
        return bool(self.scripts.run("flow_gate", batch_id, 1, "") == "OK")

    def resume(self, batch_id: str) -> bool:
        """Start the batch's jobs again. False: there is no such batch."""
        return bool(self.scripts.run("flow_gate", batch_id, 0, "") == "OK")

    # --- the ticker --------------------------------------------------------------------------

    def due(
        self,
        n: int,
        *,
        room: int,
        admit: int,
        prepare: int | None = None,
        places: int | None = None,
        redispatch_after: float | None = None,
    ) -> list[tuple[str, State]]:
        """Return the ids and states of the jobs to send wake-up messages for, the agenda first.

        Args:
            n: The most jobs to return.
            room: Free places in the Celery queue.
            admit: The most jobs that are about to pay or generating.
            prepare: The most jobs that are preparing; None: twice ``admit``.
            places: The most jobs that are preparing or generating; None: twice ``admit``.
            redispatch_after: Seconds until a job that no worker claimed is returned again; None: a
                lease.
        """
        redispatch_ms = self.lease_ms if redispatch_after is None else int(redispatch_after * 1000)
        limits = (2 * admit if limit is None else limit for limit in (prepare, places))
        flat = self.scripts.run("due", n, redispatch_ms, room, admit, self.lease_ms, *limits)
        return [(flat[i], State(flat[i + 1])) for i in range(0, len(flat), 2)]

    def lease_notifications(self, n: int, delay: float) -> list[str]:
        """Return at most ``n`` entries of the outbox that are due, and put them off.

        Args:
            n: The most entries.
            delay: Seconds until an entry that was not delivered is due again.
        """
        return list(self.scripts.run("outbox_lease", n, int(delay * 1000))) if n > 0 else []

    def acknowledge_notifications(self, delivered: Iterable[tuple[str, int]]) -> None:
        """Remove delivered entries from the outbox, each unless its job has a newer revision.

        Args:
            delivered: The entries, with the revision of the job that was delivered.
        """
        pairs = list(delivered)
        if pairs:
            self.scripts.run("outbox_ack", *chain.from_iterable(pairs))

    def drop_notification(self, entry: str) -> None:
        """Remove an entry whose record cannot be read."""
        self.redis.zrem(self.key("outbox"), entry)

    def postpone_notification(self, entry: str, delay: float) -> None:
        """Make an entry due after a delay in seconds."""
        self.redis.zadd(self.key("outbox"), {entry: self.now_ms() + int(delay * 1000)}, xx=True)

    # --- a step ------------------------------------------------------------------------------

    def claim(self, job_id: str, owner: str, nonce: str) -> Claim:
        """Try to become the owner of a job for one lease.

        Args:
            job_id: The job.
            owner: The worker.
            nonce: The same for a repetition of this claim, and for no other claim.
        """
        suspect_delay = self.lease_ms // WAKEUPS_PER_LEASE
        reply = self.scripts.run(
            *("claim", job_id, owner, nonce),
            *(self.lease_ms, LEASE_MARGIN_MS, suspect_delay, VERSION),
        )
        verdict = ClaimVerdict(reply[0])
        return _claim(reply) if verdict is ClaimVerdict.OK else Claim(verdict, {})

    def decline(self, job_id: str) -> str:
        """Return a job that a worker cannot take, so that it is due soon: OK, GONE or BUSY."""
        return str(self.scripts.run("decline", job_id, self.lease_ms // DECLINES_PER_LEASE))

    def heartbeat(self, leases: Iterable[tuple[str, str]]) -> list[bool]:
        """Extend the leases of (job id, fence) pairs. False for each that is lost."""
        return [
            reply == "OK"
            for page in pages(leases, HEARTBEATS_PER_CALL)
            for reply in self.scripts.run(
                "heartbeat", self.lease_ms, LEASE_MARGIN_MS, *chain.from_iterable(page)
            )
        ]

    def update_facts(
        self, job_id: str, fence: str, facts: Mapping[str, str], *, point: str | None = None
    ) -> bool:
        """Write facts during a step. False: the lease is lost, and nothing was written.

        Args:
            job_id: The job.
            fence: The owner's fence.
            facts: The facts.
            point: The name of the fault points; None: that of the first fact.
        """
        point = point or f"update_facts.{next(iter(facts))}"
        reply = self.scripts.run("update_facts", job_id, fence, *field_pairs(facts), point=point)
        return bool(reply == "OK")

    def commit(self, job_id: str, fence: str, end: Commit) -> bool:
        """End a step. False: the lease is lost, and nothing was written."""
        return self._commit(job_id, fence, end, NextClaim()).is_committed

    def commit_and_claim(self, job_id: str, fence: str, end: Commit) -> CommitReply:
        """End a step, and claim the job for the next one in the same script.

        The job is not claimed if it does not enter the state of the commit, for example because its
        cancellation was requested.
        """
        following = NextClaim(uuid4().hex, self.lease_ms, LEASE_MARGIN_MS)
        return self._commit(job_id, fence, end, following)

    def _commit(self, job_id: str, fence: str, end: Commit, following: NextClaim) -> CommitReply:
        arguments = commit_arguments(job_id, fence, end, nonce=uuid4().hex, following=following)
        reply = self.scripts.run("commit", *arguments, point=f"commit.{end.state}")
        verdict = CommitVerdict(reply[0])
        return CommitReply(verdict, _claim(reply) if verdict is CommitVerdict.CLAIMED else None)

    # --- shared sessions ---------------------------------------------------------------------

    def set_session_mode(self, batch_id: str, mode: str) -> str:
        """Set a batch's session mode, ``own`` or ``shared``, if it has none; return its mode."""
        self.redis.hsetnx(self.key("batch", batch_id), "session", mode)
        return str(self.redis.hget(self.key("batch", batch_id), "session"))

    def acquire_session(self, job_id: str, fence: str) -> SessionAcquisition:
        """Write the session that the job shares into its record, and acquire it."""
        reply = self.scripts.run("acquire_session", job_id, fence)
        verdict = SessionVerdict(reply[0])
        if verdict is SessionVerdict.OK:
            return SessionAcquisition(verdict, record=_record(reply[1]))
        return SessionAcquisition(verdict, waits_for=reply[1] if len(reply) > 1 else "")

    def share_session(self, job_id: str, fence: str) -> bool:
        """Share the session that a job has opened with its batch. False: the lease is lost."""
        return bool(self.scripts.run("share_session", job_id, fence) == "OK")

    # --- requests of users -------------------------------------------------------------------

    def cancel(self, job_id: str, *, spare_paid: bool = False) -> CancelVerdict:
        """Cancel a job that is idle and unpaid, or held; else note the request.

        With ``spare_paid``, a held job that has paid stays as it is.
        """
        return self.cancel_many([job_id], spare_paid=spare_paid)[0]

    def cancel_many(
        self, job_ids: Iterable[str], *, spare_paid: bool = False
    ) -> list[CancelVerdict]:
        """As ``cancel``, for many jobs, several in each run of the script."""
        return [
            CancelVerdict(verdict)
            for page in pages(job_ids, MOVES_PER_CALL)
            for verdict in self.scripts.run("cancel", int(spare_paid), *page)
        ]

    def cancel_waiting(self, batch_id: str) -> Iterator[CancelVerdict]:
        """As ``cancel``, for the jobs that wait in a batch's flows, however many there are."""
        for priority in PRIORITY_WEIGHTS:
            flow = f"{batch_id}:{priority}"
            left = self.redis.llen(self.key("flow", flow))
            while left > 0:
                verdicts = self.scripts.run("cancel_waiting", flow, min(left, MOVES_PER_CALL))
                if not verdicts:
                    break
                left -= len(verdicts)
                yield from map(CancelVerdict, verdicts)

    def release(
        self, job_id: str, *, mode: str = "", who: str = "", revision: str = ""
    ) -> ReleaseVerdict:
        """Continue a held job, or one that was set aside and can be read now.

        ``mode`` is empty, or the decision about a message of unknown outcome, ``pay_again`` or
        ``as_done``; the record keeps ``who`` made it. If a ``revision`` of the record is given,
        only the hold of that revision ends.
        """
        return ReleaseVerdict(self.scripts.run("release", job_id, mode, who, revision))

    def release_many(
        self,
        job_ids: Iterable[str],
        *,
        mode: str = "",
        who: str = "",
        revisions: Mapping[str, int] = MappingProxyType({}),
    ) -> list[ReleaseVerdict]:
        """As ``release``, for many jobs."""
        return [
            ReleaseVerdict(verdict)
            for page in pages((each, mode, who, revisions.get(each, "")) for each in job_ids)
            for verdict in self.scripts.run_many("release", page)
        ]

    def retry(self, job_id: str) -> RetryVerdict:
        """Continue a failed job at the first stage whose result is missing."""
        return RetryVerdict(self.scripts.run("retry", job_id))

    def retry_many(self, job_ids: Iterable[str]) -> list[RetryVerdict]:
        """As ``retry``, for many jobs."""
        return [
            RetryVerdict(verdict)
            for page in pages(job_ids)
            for verdict in self.scripts.run_many("retry", [(job_id,) for job_id in page])
        ]


def _claim(reply: Sequence[Any]) -> Claim:
    return Claim(ClaimVerdict.OK, _record(reply[1]), int(reply[2]))


def _record(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
