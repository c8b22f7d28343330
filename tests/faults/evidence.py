"""What a campaign leaves behind: the records in Redis, the stand-in's ledger, and the clips."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worker.journal.journal import Journal
from worker.ledger.ledger import Ledger
from worker.ledger.model.states import State

Fields = Mapping[str, str]


@dataclass(frozen=True)
class Evidence:
    """Everything that the invariants are checked against.

    Attributes:
        inputs: The SHA-256 of each submitted job's picture, by the job's id.
        jobs: All job records in Redis, by their ids.
        counts: The counters by state, and those of held jobs by reason.
        flows: The jobs in each flow.
        agenda: The jobs on the agenda.
        preparing: The jobs that count against the limits on preparing and on fetching.
        held: The jobs in each held set.
        outbox: The pending notifications.
        slots: The calls that occupy a slot.
        reserved: For each account, the stored sum and the single reservations.
        results: The status of each job's Celery result, if it has one.
        submissions: The job that each submission by message must become, by the message's id.
        answers: The job that the Celery result of each submission names, if it has succeeded.
        attempts: For each job with an entry in the payment journal, the calls that may have been
            charged.
        decided: How often a person has decided that a job's message is paid again.
        messages: The stand-in's messages.
        sessions: The picture that was uploaded last to each session.
        renders: The stand-in's renders.
        tokens_on_links: Downloads by link that carried a token.
        clips: The SHA-256 of each clip in the output store, by its key.
        samples: Counters that were read during the run.
        has_lost_records: Whether Redis has lost data during the run.
    """

    inputs: Mapping[str, str]
    jobs: Mapping[str, Fields]
    counts: Mapping[str, int]
    flows: Mapping[str, Sequence[str]] = field(default_factory=dict)
    agenda: Sequence[str] = ()
    preparing: Sequence[str] = ()
    held: Mapping[str, Sequence[str]] = field(default_factory=dict)
    outbox: Sequence[str] = ()
    slots: Sequence[str] = ()
    reserved: Mapping[str, tuple[float, Mapping[str, float]]] = field(default_factory=dict)
    results: Mapping[str, str] = field(default_factory=dict)
    submissions: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)
    attempts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    decided: Mapping[str, int] = field(default_factory=dict)
    messages: Sequence[Mapping[str, Any]] = ()
    sessions: Mapping[str, str] = field(default_factory=dict)
    renders: Sequence[Mapping[str, Any]] = ()
    tokens_on_links: int = 0
    clips: Mapping[str, str] = field(default_factory=dict)
    samples: Sequence["Sample"] = ()
    has_lost_records: bool = False

    @property
    def stored_twice(self) -> set[str]:
        """The clips without a record that are copies of a clip with one, after a loss."""
        if not self.has_lost_records:
            return set()
        records = [
            json.loads(job.get("clip") or "{}") for job in self.in_state(State.SUCCEEDED).values()
        ]
        keys, contents = ({record.get(name) for record in records} for name in ("key", "sha256"))
        return {
            key for key, content in self.clips.items() if key not in keys and content in contents
        }

    @property
    def sent(self) -> list[Mapping[str, Any]]:
        """The messages that the stand-in has not refused: all that are, or may be, charged."""
        return [message for message in self.messages if message["outcome"] != "refused"]

    def in_state(self, *states: State) -> dict[str, Fields]:
        """Return the records that are in one of the given states."""
        return {job_id: job for job_id, job in self.jobs.items() if job["state"] in states}


@dataclass(frozen=True, slots=True)
class Sample:
    """The counters at one moment, with the number of job records."""

    jobs: int
    counts: Mapping[str, int]
    headroom: Mapping[str, float]
    """For each account, the balance without the reserved credits."""


def sample(ledger: Ledger) -> Sample:
    """Read the counters, the number of jobs and each account's headroom in one transaction."""
    accounts = sorted(ledger.redis.smembers(ledger.key("accounts")))
    with ledger.redis.pipeline(transaction=True) as pipe:
        pipe.zcard(ledger.key("jobs"))
        pipe.hgetall(ledger.key("counts"))
        for name in accounts:
            pipe.hmget(ledger.key("account", name), "base", "reserved")
        jobs, counts, *money = pipe.execute()
    headroom = {
        name: float(base or 0) - float(reserved or 0)
        for name, (base, reserved) in zip(accounts, money, strict=True)
    }
    return Sample(jobs, {name: int(n) for name, n in counts.items()}, headroom)


def gather(
    ledger: Ledger,
    journal: Journal,
    *,
    sandbox_ledger: Mapping[str, Any],
    output: Path,
    inputs: Mapping[str, str],
    samples: Sequence[Sample] = (),
    submissions: Mapping[str, str] | None = None,
    decided: Mapping[str, int] | None = None,
    has_lost_records: bool = False,
) -> Evidence:
    """Gather the evidence when no job is running any more.

    Args:
        ledger: The ledger of the service.
        journal: Its payment journal.
        sandbox_ledger: The ledger of the stand-in.
        output: The folder of the clips.
        inputs: The SHA-256 of each job's picture, by the job's id.
        samples: The counters that were read during the run.
        submissions: The job of each submission by message, by the message's id.
        decided: How often a person has decided that a job's message is paid again.
        has_lost_records: Whether Redis has lost data.
    """
    redis = ledger.redis
    submissions = submissions or {}
    job_ids = redis.zrange(ledger.key("jobs"), 0, -1)
    with redis.pipeline(transaction=False) as pipe:
        for job_id in job_ids:
            pipe.hgetall(ledger.key("job", job_id))
        records = pipe.execute()
    results = _results(ledger, job_ids)
    answers = _results(ledger, submissions)
    now = ledger.now_ms()
    accounts = sorted(redis.smembers(ledger.key("accounts")))
    return Evidence(
        inputs=inputs,
        jobs=dict(zip(job_ids, records, strict=True)),
        counts={name: int(n) for name, n in redis.hgetall(ledger.key("counts")).items()},
        flows={key: redis.lrange(key, 0, -1) for key in redis.scan_iter(ledger.key("flow", "*"))},
        agenda=redis.zrange(ledger.key("agenda"), 0, -1),
        preparing=[
            *redis.zrange(ledger.key("preparing"), 0, -1),
            *sorted(redis.smembers(ledger.key("fetching"))),
        ],
        held={key: sorted(redis.smembers(key)) for key in redis.smembers(ledger.key("holds"))},
        outbox=redis.zrange(ledger.key("outbox"), 0, -1),
        slots=[
            call
            for name in accounts
            for call in redis.zrangebyscore(ledger.key("slots", name), now, "+inf")
        ],
        reserved={
            name: (
                float(redis.hget(ledger.key("account", name), "reserved") or 0),
                {
                    call: float(cost)
                    for call, cost in redis.hgetall(ledger.key("reserved", name)).items()
                },
            )
            for name in accounts
        },
        results={job_id: result["status"] for job_id, result in results.items()},
        submissions=submissions,
        answers={
            task_id: result["result"]["job_id"]
            for task_id, result in answers.items()
            if result["status"] == "SUCCESS"
        },
        attempts={
            job_id: [
                attempt.entry.call if attempt.entry else f"unreadable {attempt.number}"
                for attempt in journal.attempts(job_id)
                if attempt.may_be_charged
            ]
            for page in journal.pages()
            for job_id in page.jobs
        },
        decided=decided or {},
        messages=sandbox_ledger["messages"],
        sessions={upload["session_id"]: upload["sha256"] for upload in sandbox_ledger["uploads"]},
        renders=sandbox_ledger["renders"],
        tokens_on_links=sandbox_ledger["tokens_on_links"],
        clips={
            str(clip.relative_to(output)): hashlib.sha256(clip.read_bytes()).hexdigest()
            for clip in sorted(output.rglob("*.mp4"))
        },
        samples=samples,
        has_lost_records=has_lost_records,
    )


def _results(ledger: Ledger, ids: Iterable[str]) -> dict[str, Any]:
    """Return the stored Celery results by their ids, of those that have one."""
    names = list(ids)
    with ledger.redis.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.get(f"celery-task-meta-{name}")
        found = pipe.execute()
    return {name: json.loads(text) for name, text in zip(names, found, strict=True) if text}
