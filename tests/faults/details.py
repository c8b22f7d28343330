"""What the report of a failed campaign says besides the violations, to find their cause."""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from config.redaction import redact
from tests.faults.evidence import Evidence, Fields
from tests.support.processes import Process
from worker.journal.journal import Attempt, Journal
from worker.ledger.ledger import Ledger
from worker.ledger.model.states import State

JOBS: Final = 3
"""Violating jobs that are described."""
LOG_LINES: Final = 15
LONGEST_VALUE: Final = 120
LONGEST_LOG_LINE: Final = 240
EXAMPLES: Final = (State.QUEUED, State.PREPARING, State.GENERATING, State.HELD)
"""The states of which a record is shown if jobs do not end."""
_LONG_FIELDS: Final = frozenset({"payload", "timeline", "draft"})
_ALARMS: Final = re.compile(r"\[(?:warning|error|critical) *\]|^\w*Error\b|Traceback")


def describe_violations(
    evidence: Evidence, journal: Journal, violations: Iterable[str]
) -> Iterator[str]:
    """Yield what is known of a few violating jobs: record, journal and messages, a line each."""
    for job_id in violating_jobs(evidence, violations):
        record = evidence.jobs.get(job_id)
        yield f"{job_id} record: {_fields(record) if record else 'none'}"
        attempts = journal.attempts(job_id)
        yield f"{job_id} journal: {'; '.join(map(_attempt, attempts)) or 'no attempts'}"
        picture = evidence.inputs.get(job_id)
        sent = [each for each in evidence.messages if each["image_sha256"] == picture]
        yield f"{job_id} messages: {'; '.join(map(_message, sent)) or 'none'}"


def violating_jobs(evidence: Evidence, violations: Iterable[str]) -> list[str]:
    """Return the jobs that violations name: those of different invariants first."""
    known = evidence.inputs.keys() | evidence.jobs.keys()
    by_session = {job.get("session_id", ""): job_id for job_id, job in evidence.jobs.items()}
    named: dict[str, list[str]] = {}
    for line in violations:
        invariant, _, text = line.partition(":")
        for word in re.findall(r"[\w-]+", text):
            job_id = word if word in known else by_session.get(word)
            if job_id:
                named.setdefault(invariant, []).append(job_id)
                break
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(*named.values()))
    return list(dict.fromkeys(filter(None, in_turn)))[:JOBS]


def describe_unended(ledger: Ledger, workers: Sequence[Process]) -> Iterator[str]:
    """Yield facts about jobs that do not end, a line for each kind, while the workers are alive."""
    if workers:
        alarms = [line for line in workers[0].text().splitlines() if _ALARMS.search(line)]
        for line in alarms[-LOG_LINES:]:
            yield redact(f"{workers[0].log.name}: {line}"[:LONGEST_LOG_LINE])
    redis, now = ledger.redis, ledger.now_ms()
    yield f"workers alive: {sum(worker.alive for worker in workers)}; ledger time: {now}"
    states, reasons = ledger.counts()
    yield f"held: {_pairs(reasons)}"
    records: dict[str, tuple[str, Fields]] = {}
    for job_id in redis.zrange(ledger.key("jobs"), 0, -1):
        record = redis.hgetall(ledger.key("job", job_id))
        records.setdefault(record.get("state", ""), (job_id, record))
        if records.keys() >= {state.value for state in EXAMPLES if states.get(state)}:
            break
    for state in EXAMPLES:
        if state.value in records:
            job_id, example = records[state.value]
            yield f"{state} {job_id}: {_fields(example)}"
    yield f"meta: {_fields(redis.hgetall(ledger.key('meta')))}"
    for name in sorted(redis.smembers(ledger.key("accounts"))):
        slots = redis.zcard(ledger.key("slots", name))
        reserved = redis.hlen(ledger.key("reserved", name))
        account = _fields(redis.hgetall(ledger.key("account", name)))
        yield f"{name}: {slots} slots, {reserved} reserved: {account}"
    due = redis.zrange(ledger.key("agenda"), 0, 4, withscores=True)
    seconds = ", ".join(f"{job_id} {(score - now) / 1000:+.1f} s" for job_id, score in due)
    yield f"agenda: {redis.zcard(ledger.key('agenda'))} jobs: {seconds}"
    yield f"flows: {_pairs(dict(redis.zrange(ledger.key('flows'), 0, -1, withscores=True)))}"


def _fields(record: Fields) -> str:
    """Return the fields of a record that have a value and are not long by nature, each cut."""
    return redact(
        " ".join(
            f"{name}={value[:LONGEST_VALUE]}"
            for name, value in sorted(record.items())
            if value and name not in _LONG_FIELDS
        )
    )


def _attempt(attempt: Attempt) -> str:
    entry = attempt.entry
    if entry is None:
        return f"{attempt.number}: cannot be read, {attempt.problem}"
    return (
        f"{attempt.number}: turn {entry.turn}, {entry.call}, mark {attempt.mark}, "
        f"created {entry.created_at}, session {entry.session_id}"
    )


def _message(message: Mapping[str, Any]) -> str:
    times = " to ".join(str(message.get(name)) for name in ("at", "ended_at"))
    return f"{message['outcome']} in {message['session_id']} at {times}"


def _pairs(values: Mapping[Any, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items()) or "none"
