"""What a campaign leaves behind, read from both sides: our records and the stand-in's ledger."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worker.ledger.ledger import Ledger
from worker.ledger.model.states import State

Fields = Mapping[str, str]


@dataclass(frozen=True)
class Evidence:
    """Everything that the invariants speak of.

    Attributes:
        inputs: The SHA-256 of the picture of each job that was submitted, by its id.
        jobs: Every record as Redis has it, by its id.
        counts: The counters by state, and those of the held by reason.
        flows: The jobs in each flow.
        agenda: The jobs on the agenda.
        held: The jobs in each held set.
        outbox: What is still to be told.
        slots: Calls that take a slot.
        reserved: For each account, the sum as noted and the single reservations.
        results: Status of the Celery result of each job that has one.
        messages: The stand-in's messages.
        sessions: The picture that was uploaded last in each session.
        renders: The stand-in's renders.
        tokens_on_links: Downloads that carried a token where none belongs.
        clips: SHA-256 of each clip in the output store, by its key.
        samples: Counters that were read while it ran, each with the number of jobs then.
    """

    inputs: Mapping[str, str]
    jobs: Mapping[str, Fields]
    counts: Mapping[str, int]
    flows: Mapping[str, Sequence[str]] = field(default_factory=dict)
    agenda: Sequence[str] = ()
    held: Mapping[str, Sequence[str]] = field(default_factory=dict)
    outbox: Sequence[str] = ()
    slots: Sequence[str] = ()
    reserved: Mapping[str, tuple[float, Mapping[str, float]]] = field(default_factory=dict)
    results: Mapping[str, str] = field(default_factory=dict)
    messages: Sequence[Mapping[str, Any]] = ()
    sessions: Mapping[str, str] = field(default_factory=dict)
    renders: Sequence[Mapping[str, Any]] = ()
    tokens_on_links: int = 0
    clips: Mapping[str, str] = field(default_factory=dict)
    samples: Sequence["Sample"] = ()

    def in_state(self, *states: State) -> dict[str, Fields]:
        """The records that are in one of the given states."""
        return {job_id: job for job_id, job in self.jobs.items() if job["state"] in states}


@dataclass(frozen=True, slots=True)
class Sample:
    """The counters at one moment."""

    jobs: int
    counts: Mapping[str, int]
    headroom: Mapping[str, float]
    """For each account the balance as read, less what is reserved."""


def sample(ledger: Ledger) -> Sample:
    """Read the counters and the number of jobs in one go, and each account's headroom."""
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
    outside: Mapping[str, Any],
    output: Path,
    inputs: Mapping[str, str],
    samples: Sequence[Sample],
) -> Evidence:
    """Read both sides, when nothing moves any more.

    Args:
        ledger: Ours.
        outside: The stand-in's ledger.
        output: The folder of the finished clips.
        inputs: The SHA-256 of the picture of each job, by its id.
        samples: What was read meanwhile.
    """
    redis = ledger.redis
    job_ids = redis.zrange(ledger.key("jobs"), 0, -1)
    with redis.pipeline(transaction=False) as pipe:
        for job_id in job_ids:
            pipe.hgetall(ledger.key("job", job_id))
        records = pipe.execute()
    with redis.pipeline(transaction=False) as pipe:
        for job_id in job_ids:
            pipe.get(f"celery-task-meta-{job_id}")
        told = pipe.execute()
    now = ledger.now_ms()
    accounts = sorted(redis.smembers(ledger.key("accounts")))
    return Evidence(
        inputs=inputs,
        jobs=dict(zip(job_ids, records, strict=True)),
        counts={name: int(n) for name, n in redis.hgetall(ledger.key("counts")).items()},
        flows={key: redis.lrange(key, 0, -1) for key in redis.scan_iter(ledger.key("flow", "*"))},
        agenda=redis.zrange(ledger.key("agenda"), 0, -1),
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
        results={
            job_id: json.loads(text)["status"]
            for job_id, text in zip(job_ids, told, strict=True)
            if text
        },
        messages=outside["messages"],
        sessions={upload["session_id"]: upload["sha256"] for upload in outside["uploads"]},
        renders=outside["renders"],
        tokens_on_links=outside["tokens_on_links"],
        clips={
            str(clip.relative_to(output)): hashlib.sha256(clip.read_bytes()).hexdigest()
            for clip in sorted(output.rglob("*.mp4"))
        },
        samples=samples,
    )
