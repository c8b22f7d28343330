"""Reading job, batch and account records, one or many at a time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import tee
from typing import Any, Final

from redis.exceptions import ResponseError

from worker.ledger.connections.connection import replies
from worker.ledger.connections.replicas import Replicas
from worker.ledger.model.accounts import Account, read_account
from worker.ledger.model.batches import Batch, Pace, read_batch, read_counts, read_pace
from worker.ledger.model.fields import int_or_zero
from worker.ledger.model.jobs import (
    ONE_TURN_FIELDS,
    Job,
    UnreadableRecordError,
    placeholder_job,
    read_job,
    read_job_or_placeholder,
)
from worker.ledger.model.row_lines import data_columns, with_line
from worker.ledger.model.states import Reason, State
from worker.ledger.pages import PAGE_SIZE
from worker.ledger.scripts import Scripts

_STATES: Final = frozenset(State)

Row = tuple[str, float]
"""A member of a batch's set of rows, `<job>` or `<job>#<line>`, with the number of its row."""


@dataclass(frozen=True, slots=True)
class RowState:
    """The state of one job of a batch; ``reason`` is empty unless it is held or has failed."""

    job_id: str
    state: State
    reason: str


class Reader:
    """Reads the job, batch and account records of one namespace."""

    # The client's annotations give "str or bytes" for every reply, even if it decodes: hence Any.
    def __init__(
        self,
        redis: Any,  # noqa: ANN401
        namespace: str,
        *,
        lease_seconds: float,
        clock: str | None = None,
        replicas: Replicas | None = None,
    ) -> None:
        """Bind to a client with ``decode_responses=True``. Sends nothing yet."""
        self.redis = redis
        self.namespace = namespace
        self.lease_ms = int(lease_seconds * 1000)
        self.replicas = replicas or Replicas()
        self.scripts = Scripts(redis, namespace, clock, self.replicas)

    def key(self, kind: str, name: str | None = None) -> str:
        """Return the Redis key of a record or a set."""
        tail = "" if name is None else f":{name}"
        return f"{kind}:{{{self.namespace}}}{tail}"

    def now_ms(self) -> int:
        """Return the time in ms of the clock of all records: the server's, with an offset."""
        with self.redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.hget(self.key("meta"), "clock_offset")
            (seconds, micros), offset = replies(pipe)
        corrected = 0 if isinstance(offset, ResponseError) else int_or_zero(offset)
        return int(seconds) * 1000 + int(micros) // 1000 + corrected

    def tombstone(self, key: str) -> State | None:
        """Return the state in which the job of a key ended; None unless it was pruned."""
        parts = (self.redis.get(self.key("idem", key)) or "").split("|")
        return State(parts[2]) if len(parts) > 2 else None  # noqa: PLR2004 - id, fingerprint, state

    def last_message(self, session_id: str) -> str | None:
        """Return the call of the last message in a session that several jobs share, or None."""
        found = self.redis.hget(self.key("session", session_id), "last")
        return str(found) if found else None

    def session_holder(self, session_id: str) -> str | None:
        """Return the job that has acquired a session that several jobs share, or None."""
        found = self.redis.hget(self.key("session", session_id), "holder")
        return str(found) if found else None

    def job(self, job_id: str) -> Job | None:
        """Return a job's record, or None.

        Raises:
            UnreadableRecordError: This version cannot read the record.
        """
        fields = self.record(job_id)
        return read_job(fields) if fields else None

    def record(self, job_id: str) -> dict[str, str]:
        """Return the stored fields of a job; none if there is no such job.

        Raises:
            UnreadableRecordError: Its key holds something else.
        """
        return self._record("job", job_id)

    def jobs(self, job_ids: Iterable[str]) -> Iterator[Job]:
        """Read the records of many jobs, in order, without those that are gone.

        A placeholder takes the place of a record that cannot be read.
        """
        asked = list(job_ids)
        with self.redis.pipeline(transaction=False) as pipe:
            for job_id in asked:
                pipe.hgetall(self.key("job", job_id))
            found = replies(pipe)
        for job_id, fields in zip(asked, found, strict=True):
            if isinstance(fields, ResponseError):
                yield placeholder_job(job_id, {}, str(fields))
            elif fields:
                yield read_job_or_placeholder(job_id, fields)

    def row_jobs(self, rows: Iterable[Sequence[Row]], facts: Iterable[str]) -> Iterator[list[Job]]:
        """Read the jobs of pages of rows, each page while the server reads the next.

        Each job has the image and the columns of its row, and at least the facts of these names.
        Jobs that are gone are left out. A placeholder takes the place of a record that cannot be
        read.
        """
        names = (*ONE_TURN_FIELDS, *facts)
        for page, records in self._row_records(rows, names):
            yield list(self._row_jobs(page, ("line:", *names), records))

    def _row_jobs(
        self, page: Sequence[Row], names: Sequence[str], records: Iterable[Sequence[str | None]]
    ) -> Iterator[Job]:
        rows = [(*member.partition("#")[::2], int(row)) for member, row in page]
        read = [_present(names, values) for values in records]
        # These have several turns, or no record that could be read.
        others = {
            job_id
            for (job_id, _, _), fields in zip(rows, read, strict=True)
            if fields.get("turn") != "1"
        }
        whole = {job.id: job for job in self.jobs(others)}
        for (job_id, line, row), fields in zip(rows, read, strict=True):
            if line:
                fields[f"line:{line}"] = fields.pop("line:", "")
            is_whole = job_id in others
            job = whole.get(job_id) if is_whole else read_job_or_placeholder(job_id, fields)
            if job is not None:
                yield with_line(job, line, row)

    def row_columns(self, rows: Iterable[Sequence[Row]]) -> Iterator[tuple[str, ...]]:
        """Read the names of the columns that pages of rows have of their own, row by row.

        A row whose record is gone or cannot be read has none.
        """
        for page, records in self._row_records(rows, ("line", "payload")):
            for (member, _), values in zip(page, records, strict=True):
                own, first, payload = values or (None, None, None)
                yield data_columns(own if "#" in member else first, payload)

    def _row_records(
        self, rows: Iterable[Sequence[Row]], names: Sequence[str]
    ) -> Iterator[tuple[Sequence[Row], list[Sequence[str | None]]]]:
        """Yield pages of rows with the values that the script ``row_records`` returns for each."""
        asked, sent = tee(rows)
        calls = ((len(names), *names, *(member for member, _ in page)) for page in sent)
        return zip(asked, self.scripts.run_pipelined("row_records", calls), strict=True)

    def batch_ids(self) -> list[str]:
        """Return the ids of all batches, newest first."""
        return list(self.redis.zrange(self.key("batches"), 0, -1, desc=True))

    def unsealed_batches(self) -> dict[str, int]:
        """Return the batches whose manifest is incomplete, and since when, in ms.

        Their submission is running, or it died.
        """
        ids = self.batch_ids()
        with self.redis.pipeline(transaction=False) as pipe:
            for batch_id in ids:
                pipe.hmget(self.key("batch", batch_id), "sealed", "unsealed_at", "created_at")
            found = replies(pipe)
        return {
            batch_id: int_or_zero(fields[1] or fields[2])
            for batch_id, fields in zip(ids, found, strict=True)
            if not isinstance(fields, ResponseError) and fields[0] != "1"
        }

    def row_states(self, batch_id: str) -> Iterator[list[RowState]]:
        """Read the states of a batch's jobs, a page at a time, in the order of its rows.

        Jobs that are gone, or in a state that this version does not know, are left out.
        """
        rows, start = self.key("rows", batch_id), 0
        while page := self.redis.zrange(rows, start, start + PAGE_SIZE - 1):
            flat = self.scripts.run("batch_states", *page)
            yield [
                RowState(job_id, State(flat[2 * at]), flat[2 * at + 1])
                for at, job_id in enumerate(page)
                if flat[2 * at] in _STATES  # not so for a further row of a job
            ]
            start += PAGE_SIZE

    def states_of(self, job_ids: Sequence[str]) -> list[State | None]:
        """Return the states of jobs, a page at most; None for one that is gone or unreadable."""
        flat = self.scripts.run("batch_states", *job_ids) if job_ids else []
        return [State(state) if state in _STATES else None for state in flat[::2]]

    def held_ids(self, reason: Reason) -> list[str]:
        """Return the ids of the jobs held for a reason, of all accounts."""
        holds = self.redis.smembers(self.key("holds"))
        keys = [key for key in holds if key.endswith(f":{reason}")]
        return sorted(self.redis.sunion(keys)) if keys else []

    def some_held_ids(self, reason: Reason, account: str, most: int) -> list[str]:
        """Return the ids of some jobs of an account that are held for a reason."""
        key = self.key("held", f"{account}:{reason}")
        return list(self.redis.srandmember(key, most) or []) if most > 0 else []

    def held_count(self, reason: Reason) -> int:
        """Count the jobs held for a reason."""
        return self.counts()[1].get(reason, 0)

    def holding_accounts(self, reason: Reason) -> set[str]:
        """Return the accounts with jobs held for a reason."""
        keys = self.redis.smembers(self.key("holds"))
        return {
            key.rsplit(":", 2)[1]
            for key in keys
            if key.endswith(f":{reason}") and self.redis.exists(key)
        }

    def batch(self, batch_id: str) -> Batch | None:
        """Return a batch's record, or None.

        Raises:
            UnreadableRecordError: This version cannot read the record.
        """
        fields = self._record("batch", batch_id)
        return read_batch(batch_id, fields) if fields else None

    def _record(self, kind: str, name: str) -> dict[str, str]:
        try:
            return dict(self.redis.hgetall(self.key(kind, name)))
        except ResponseError as error:
            raise UnreadableRecordError(f"{kind} {name}: {error}") from error

    def set_aside(self) -> dict[str, str]:
        """Return what was set aside because it cannot be read, with the reasons.

        Jobs are given by id, anything else by key.
        """
        return dict(self.redis.hgetall(self.key("unreadable")))

    def pace(self) -> Pace:
        """Return how long recent clips took, and how many jobs the ticker admits at a time."""
        meta, now = self.key("meta"), self.now_ms()
        admit, last_tick = self.redis.hmget(meta, "admit", "last_tick")
        return read_pace(self.redis.hgetall(self.key("pace")), admit, last_tick, now)

    def flows(self) -> dict[str, int]:
        """Return the active flows with the number of jobs that wait in each."""
        flows = self.redis.zrange(self.key("flows"), 0, -1)
        with self.redis.pipeline(transaction=False) as pipe:
            for flow in flows:
                pipe.llen(self.key("flow", flow))
            lengths = zip(flows, replies(pipe), strict=True)
        return {flow: length for flow, length in lengths if isinstance(length, int)}

    def counts(self) -> tuple[dict[State, int], dict[Reason, int]]:
        """Count all jobs by state, and the held ones by reason."""
        return read_counts(self.redis.hgetall(self.key("counts")))

    def account(self, name: str) -> Account:
        """Return an account's record. A key that holds no record reads as an empty one."""
        try:
            fields = self.redis.hgetall(self.key("account", name))
        except ResponseError:
            fields = {}
        return read_account(name, fields)

    def accounts(self) -> list[Account]:
        """Return all accounts whose balance was ever read."""
        names = sorted(self.redis.smembers(self.key("accounts")))
        return [self.account(name) for name in names]


def _present(names: Iterable[str], values: Iterable[str | None]) -> dict[str, str]:
    """Return the fields that a record has, of those with these names; none for no values."""
    return {name: value for name, value in zip(names, values, strict=False) if value is not None}
