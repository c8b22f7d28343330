"""The ledger: every read and write of the job records, by way of the scripts.

The record in Redis is the only truth about a job. Each method that changes something is one
script, safe to run twice, because a lost reply makes the client run it again.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, Final, TypeVar
from uuid import uuid4

from redis.exceptions import ResponseError

from worker.faultpoints import around
from worker.ledger.accounts import Account, read_account
from worker.ledger.batches import Batch, Pace, read_batch, read_counts, read_pace
from worker.ledger.records import Job, UnreadableRecordError, read_job, read_or_remains, remains_of
from worker.ledger.scripts import Scripts
from worker.ledger.states import Reason, State

T = TypeVar("T")

PRIORITIES: Final = ("high", "normal", "low")
MARGIN_MS: Final = 1000
"""From the end of a lease to the first look at the job by somebody else."""
HINTS_A_LEASE: Final = 8
"""How often in a lease a job that nobody takes is handed out, while few hints wait."""
HAND_BACKS_A_LEASE: Final = 16
"""How often in a lease a job may come back from workers that take nothing now."""
PAGE: Final = 500
"""Jobs that one script looks at or changes: some milliseconds of the server's time."""

_json: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be written. ``fingerprint`` tells whether a known key means the same job.

    ``lane`` is where it waits, if not in its batch's own flow: a job of a batch that waits among
    the single ones (``single``) is held back by no pause of the batch.
    """

    id: str
    payload: Mapping[str, Any]
    fingerprint: str
    priority: str = "normal"
    key: str = ""
    batch_id: str = ""
    row: int = 0
    parent_id: str = ""
    lane: str = ""
    follows: str = ""
    """The job in whose session this one goes on, as a further edit."""

    @property
    def flow(self) -> str:
        """The flow the job waits in: its lane, its batch, or the single jobs, by priority."""
        return f"{self.lane or self.batch_id or SINGLE}:{self.priority}"


SINGLE: Final = "single"
"""The lane of the jobs that belong to no batch."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """The answer to a submission: ``verdict`` is OK, DUPLICATE or CONFLICT."""

    verdict: str
    job_id: str


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one job of a batch stands; ``reason`` is why, if held or failed, else empty."""

    job_id: str
    state: State
    reason: str


@dataclass(frozen=True, slots=True)
class Claim:
    """The answer to a claim: OK with the record, or why not."""

    verdict: str  # OK, BUSY, EARLY, GONE, POISON
    record: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Joining:
    """The answer to a job that joins a session: OK with its record, or why not and who is meant."""

    verdict: str  # OK, LOST, SESSION_BUSY, SESSION_BLOCKED, NO_PROJECT
    other: str = ""
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


class Ledger:
    """Job, batch and account records of one namespace."""

    # The client's own annotations say «str or bytes» of every reply, however it decodes: Any.
    def __init__(
        self,
        redis: Any,  # noqa: ANN401
        namespace: str,
        *,
        lease_seconds: float,
        clock: str | None = None,
    ) -> None:
        """Bind to a client with ``decode_responses=True``. Nothing is sent yet."""
        self.redis = redis
        self.namespace = namespace
        self.lease_ms = int(lease_seconds * 1000)
        self.scripts = Scripts(redis, namespace, clock)

    def key(self, kind: str, name: str | None = None) -> str:
        """The Redis key of a record or a set."""
        tail = "" if name is None else f":{name}"
        return f"{kind}:{{{self.namespace}}}{tail}"

    def now_ms(self) -> int:
        """The Redis server's time, in ms: the one clock of all records."""
        seconds, micros = self.redis.time()
        return int(seconds) * 1000 + int(micros) // 1000

    # --- submitting ------------------------------------------------------------------------

    def submit(self, job: NewJob) -> Submitted:
        """Write one job as queued, or find the one that its key names."""
        verdict, job_id = self.scripts.run("submit", _as_argument([job]))
        return Submitted(verdict, job_id)

    def submit_many(self, jobs: Iterable[NewJob]) -> list[Submitted]:
        """Write many jobs, a page in one run of the script."""
        return list(chain.from_iterable(self.submit_pages(pages(jobs))))

    def submit_pages(self, jobs: Iterable[Sequence[NewJob]]) -> Iterator[list[Submitted]]:
        """Write pages of at most ``PAGE`` jobs, each in one run of the script.

        A page is asked for before the answers to the one before are there, so that it is made
        while the server writes.
        """
        for flat in self.scripts.run_ahead("submit", ([_as_argument(page)] for page in jobs)):
            yield [Submitted(*flat[at : at + 2]) for at in range(0, len(flat), 2)]

    def known(self, keys: Iterable[str]) -> list[tuple[str, str] | None]:
        """What keys are taken: the job's id and fingerprint of each, or None."""
        found: list[tuple[str, str] | None] = []
        for page in pages(keys):
            for value in self.redis.mget([self.key("idem", key) for key in page]):
                job_id, fingerprint = value.split("|")[:2] if value else ("", "")
                found.append((job_id, fingerprint) if value else None)
        return found

    def tombstone(self, key: str) -> State | None:
        """How the job of a key ended whose record was pruned; None: it was not."""
        parts = (self.redis.get(self.key("idem", key)) or "").split("|")
        return State(parts[2]) if len(parts) > 2 else None  # noqa: PLR2004 - id, fingerprint, state

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
        self.redis.hset(self.key("batch", batch_id), "max_credits", f"{max_credits:g}")

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
        self, n: int, *, room: int, admit: int, grace: float | None = None
    ) -> list[tuple[str, State]]:
        """What to hand out now: ids and their states, the agenda before the flows.

        Args:
            n: The most of them.
            room: Free places in the Celery queue.
            admit: The most jobs from prepare to settle.
            grace: Seconds until a job that nobody took comes up again; None: a lease.
        """
        grace_ms = self.lease_ms if grace is None else int(grace * 1000)
        flat = self.scripts.run("due", n, grace_ms, room, admit, self.lease_ms)
        return [(flat[i], State(flat[i + 1])) for i in range(0, len(flat), 2)]

    def untold(self, n: int) -> list[str]:
        """Outbox entries that are due, oldest first."""
        due = self.redis.zrangebyscore(self.key("outbox"), "-inf", self.now_ms(), start=0, num=n)
        return list(due)

    def told(self, entry: str, revision: int) -> None:
        """Take an entry out of the outbox, unless its job has moved on since."""
        self.scripts.run("told", entry, revision, -1)

    def give_up_telling(self, entry: str) -> None:
        """Take an entry out whose record nobody can read."""
        self.redis.zrem(self.key("outbox"), entry)

    def tell_later(self, entry: str, delay: float) -> None:
        """Put an entry off, in seconds."""
        self.scripts.run("told", entry, 0, int(delay * 1000))

    # --- a step ------------------------------------------------------------------------------

    def claim(self, job_id: str, owner: str, nonce: str) -> Claim:
        """Ask for the ownership of a job for one lease."""
        put_off = self.lease_ms // HINTS_A_LEASE
        reply = self.scripts.run("claim", job_id, owner, nonce, self.lease_ms, MARGIN_MS, put_off)
        flat = reply[1] if len(reply) > 1 else []
        return Claim(reply[0], dict(zip(flat[::2], flat[1::2], strict=True)))

    def hand_back(self, job_id: str) -> str:
        """Let a job that was handed to a worker in vain come up again soon: OK, GONE or BUSY."""
        return str(self.scripts.run("hand_back", job_id, self.lease_ms // HAND_BACKS_A_LEASE))

    def beat(self, leases: Iterable[tuple[str, int]]) -> list[bool]:
        """Push the leases of (job id, fence) on; False for each that is lost."""
        calls = ((job_id, fence, self.lease_ms, MARGIN_MS) for job_id, fence in leases)
        return [reply == "OK" for reply in self.scripts.run_many("beat", calls)]

    def record(self, job_id: str, fence: int, facts: Mapping[str, str]) -> bool:
        """Write facts in the middle of a step. False: the lease is lost."""
        point = f"record.{next(iter(facts))}"
        reply = self.scripts.run("record", job_id, fence, *_pairs(facts), point=point)
        return bool(reply == "OK")

    def commit(self, job_id: str, fence: int, end: Commit, nonce: str | None = None) -> bool:
        """End a step. False: the lease is lost, and with it the say."""
        facts = {**(end.facts or {}), "message": end.message, "remedy": end.remedy}
        reply = self.scripts.run(
            "commit",
            job_id,
            fence,
            nonce or uuid4().hex,
            end.state,
            int(end.delay * 1000),
            end.reason or "",
            end.resume or "",
            end.outcome,
            *_pairs(facts),
            point=f"commit.{end.state}",
        )
        return bool(reply == "OK")

    # --- sessions that several jobs use ------------------------------------------------------

    def share_sessions(self, batch_id: str, mode: str) -> str:
        """Say once how a batch uses sessions, ``own`` or ``shared``; the mode that it has."""
        self.redis.hsetnx(self.key("batch", batch_id), "session", mode)
        return str(self.redis.hget(self.key("batch", batch_id), "session"))

    def join_session(self, job_id: str, fence: int) -> Joining:
        """Bring a job into the session that it is to work in, and take the session for it."""
        reply = self.scripts.run("join_session", job_id, fence)
        if reply[0] == "OK":
            return Joining("OK", record=dict(zip(reply[1][::2], reply[1][1::2], strict=True)))
        return Joining(reply[0], other=reply[1] if len(reply) > 1 else "")

    def share_session(self, job_id: str, fence: int) -> bool:
        """Make the job's session its batch's. False: the lease is lost."""
        return bool(self.scripts.run("share_session", job_id, fence) == "OK")

    def last_message(self, session_id: str) -> str | None:
        """The call of the last message in a session that several jobs use, or None."""
        found = self.redis.hget(self.key("session", session_id), "last")
        return str(found) if found else None

    # --- people ------------------------------------------------------------------------------

    def cancel(self, job_id: str) -> str:
        """Ask for the end of a job: CANCELLED, REQUESTED, ENDED or GONE."""
        return self.cancel_many([job_id])[0]

    def cancel_many(self, job_ids: Iterable[str]) -> list[str]:
        """As ``cancel``, of many jobs, a page in one run of the script."""
        return [
            str(verdict) for page in pages(job_ids) for verdict in self.scripts.run("cancel", *page)
        ]

    def cancel_waiting(self, batch_id: str) -> Iterator[str]:
        """As ``cancel``, of the jobs that wait in a batch's flows, whatever their number."""
        for priority in PRIORITIES:
            flow = f"{batch_id}:{priority}"
            left = self.redis.llen(self.key("flow", flow))
            while left > 0:
                verdicts = self.scripts.run("cancel_waiting", flow, min(left, PAGE))
                if not verdicts:
                    break
                left -= len(verdicts)
                yield from verdicts

    def release(self, job_id: str, *, mode: str = "", who: str = "") -> str:
        """Let a held job go on: OK, NOT_HELD, NEEDS_CHOICE, REFUSED or GONE."""
        return str(self.scripts.run("release", job_id, mode, who))

    def release_many(self, job_ids: Iterable[str], *, mode: str = "", who: str = "") -> list[str]:
        """As ``release``, of many jobs, a page in one round trip."""
        return [
            str(verdict)
            for page in pages(job_ids)
            for verdict in self.scripts.run_many("release", [(id_, mode, who) for id_ in page])
        ]

    def retry(self, job_id: str) -> str:
        """Let a failed job go on: OK, NOT_FAILED or GONE."""
        return str(self.scripts.run("retry", job_id))

    def retry_many(self, job_ids: Iterable[str]) -> list[str]:
        """As ``retry``, of many jobs, a page in one round trip."""
        return [
            str(verdict)
            for page in pages(job_ids)
            for verdict in self.scripts.run_many("retry", [(job_id,) for job_id in page])
        ]

    # --- reading -----------------------------------------------------------------------------

    def job(self, job_id: str) -> Job | None:
        """A job's record, or None.

        Raises:
            UnreadableRecordError: The record makes no sense to this version.
        """
        try:
            fields = self.redis.hgetall(self.key("job", job_id))
        except ResponseError as error:
            raise UnreadableRecordError(str(error)) from error
        return read_job(fields) if fields else None

    def facts(self, job_id: str, *names: str) -> list[str | None]:
        """Some fields of a job's record as they stand now."""
        return list(self.redis.hmget(self.key("job", job_id), names))

    def jobs(self, job_ids: Iterable[str]) -> Iterator[Job]:
        """The records of many jobs, in order; ids that are gone are left out.

        A record that cannot be read stops no page of others: what is left of it stands in.
        """
        asked = list(job_ids)
        with self.redis.pipeline(transaction=False) as pipe:
            for job_id in asked:
                pipe.hgetall(self.key("job", job_id))
            for job_id, fields in zip(asked, pipe.execute(raise_on_error=False), strict=True):
                if isinstance(fields, ResponseError):
                    yield remains_of(job_id, {}, str(fields))
                elif isinstance(fields, Exception):
                    raise fields
                elif fields:
                    yield read_or_remains(job_id, fields)

    def recent_ids(self, limit: int) -> list[str]:
        """Ids of all jobs, newest first."""
        return list(self.redis.zrange(self.key("jobs"), 0, limit - 1, desc=True))

    def batch_ids(self) -> list[str]:
        """Ids of all batches, newest first."""
        return list(self.redis.zrange(self.key("batches"), 0, -1, desc=True))

    def unsealed(self) -> dict[str, int]:
        """Batches whose manifest is not wholly in, and since when, in ms.

        It comes in right now, or whoever submitted it died over it.
        """
        ids = self.batch_ids()
        with self.redis.pipeline(transaction=False) as pipe:
            for batch_id in ids:
                pipe.hmget(self.key("batch", batch_id), "sealed", "unsealed_at", "created_at")
            found = pipe.execute()
        return {
            batch_id: int(since or created or 0)
            for batch_id, (sealed, since, created) in zip(ids, found, strict=True)
            if sealed != "1"
        }

    def row_ids(self, batch_id: str) -> list[str]:
        """Ids of a batch's jobs, in the order of its rows."""
        return list(self.redis.zrange(self.key("rows", batch_id), 0, -1))

    def standing(self, batch_id: str) -> Iterator[list[Standing]]:
        """Where a batch's jobs stand, a page at a time, in the order of its rows."""
        rows, start = self.key("rows", batch_id), 0
        while page := self.redis.zrange(rows, start, start + PAGE - 1):
            flat = self.scripts.run("standing", *page)
            yield [
                Standing(job_id, State(flat[2 * at]), flat[2 * at + 1])
                for at, job_id in enumerate(page)
                if flat[2 * at]
            ]
            start += PAGE

    def held_ids(self, reason: Reason, account: str | None = None) -> list[str]:
        """Ids of the jobs that are held for a reason."""
        keys = [
            key
            for key in self.redis.smembers(self.key("holds"))
            if key.endswith(f":{reason}") and account in (None, key.rsplit(":", 2)[1])
        ]
        return sorted(self.redis.sunion(keys)) if keys else []

    def held_count(self, reason: Reason) -> int:
        """How many jobs are held for a reason."""
        return self.counts()[1].get(reason, 0)

    def holding_accounts(self, reason: Reason) -> set[str]:
        """The accounts on which jobs are held for a reason."""
        keys = self.redis.smembers(self.key("holds"))
        return {
            key.rsplit(":", 2)[1]
            for key in keys
            if key.endswith(f":{reason}") and self.redis.exists(key)
        }

    def batch(self, batch_id: str) -> Batch | None:
        """A batch's record, or None."""
        fields = self.redis.hgetall(self.key("batch", batch_id))
        return read_batch(batch_id, fields) if fields else None

    def pace(self) -> Pace:
        """What clips took lately, and how many jobs the ticker admits at once."""
        meta, now = self.key("meta"), self.now_ms()
        admit, last_tick = self.redis.hmget(meta, "admit", "last_tick")
        return read_pace(self.redis.hgetall(self.key("pace")), admit, last_tick, now)

    def flows(self) -> dict[str, int]:
        """The active flows, and how many jobs wait in each."""
        flows = self.redis.zrange(self.key("flows"), 0, -1)
        with self.redis.pipeline(transaction=False) as pipe:
            for flow in flows:
                pipe.llen(self.key("flow", flow))
            return dict(zip(flows, pipe.execute(), strict=True))

    def counts(self) -> tuple[dict[State, int], dict[Reason, int]]:
        """All jobs by state, and the held ones by reason."""
        return read_counts(self.redis.hgetall(self.key("counts")))

    def account(self, name: str) -> Account:
        """What is known of an account."""
        return read_account(name, self.redis.hgetall(self.key("account", name)))

    def accounts(self) -> list[Account]:
        """All accounts whose balance was read."""
        names = sorted(self.redis.smembers(self.key("accounts")))
        return [self.account(name) for name in names]

    def note_bind_id(self, account: str, bind_id: str) -> None:
        """Keep what binds an anonymous account to a registered one: the first word stands."""
        self.redis.hsetnx(self.key("account", account), "bind_id", bind_id)


def pages(values: Iterable[T]) -> Iterator[list[T]]:
    """Values in lists of the size that one script or one round trip carries well."""
    iterator = iter(values)
    while page := list(islice(iterator, PAGE)):
        yield page


def _as_argument(jobs: Iterable[NewJob]) -> str:
    return _json([_as_object(job) for job in jobs])


def _as_object(job: NewJob) -> dict[str, Any]:
    fields = {"payload": _json(job.payload), "parent": job.parent_id}
    if job.follows:
        fields["follows"] = job.follows
    if webhook := job.payload.get("webhook"):
        fields["webhook"] = webhook
    return {
        "id": job.id,
        "key": job.key,
        "fingerprint": job.fingerprint,
        "flow": job.flow,
        "batch": job.batch_id,
        "row": job.row,
        "fields": fields,
    }


def _pairs(facts: Mapping[str, str]) -> list[str]:
    return [part for pair in facts.items() for part in pair]
