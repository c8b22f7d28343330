"""The report of a failed campaign says what its causes can be found by, and nothing secret."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis

from tests.faults.details import describe_unended, describe_violations, violating_jobs
from tests.faults.invariants import violations
from tests.faults.report import Run, show
from tests.support.processes import Process
from tests.unit.faults.test_invariants import CALL, GOOD, job, message
from tests.unit.worker.journal.conftest import entry
from worker.journal.entries import Mark
from worker.journal.journal import Journal
from worker.ledger.ledger import Ledger
from worker.ledger.model.submissions import NewJob

TOKEN = "nmv_usr_secret"
TWICE = replace(
    GOOD,
    jobs={"a": job(payload="long", reply="r" * 500, claim_url=f"https://x/?t={TOKEN}")},
    messages=[message(at=1.5, ended_at=2.5), message(session_id="s2", outcome="broken")],
)
RUN = Run(
    seed=17,
    seconds=1,
    lease=9,
    faults={},
    lost={},
    released=0,
    adopted=0,
    outages=[],
)


def journal_of(folder: Path) -> Journal:
    """A journal with two attempts of the violating job, the first one not charged."""
    journal = Journal.open(folder.as_uri(), "rq")
    for number in (1, 2):
        journal.create(replace(entry(number, job_id="a"), call=f"a:1:{number}", session_id="s1"))
    journal.mark("a", 1, Mark.NOT_CHARGED, "refused")
    return journal


def test_a_violating_job_is_described_by_record_journal_and_messages(tmp_path: Path) -> None:
    found = violations(TWICE)
    record, attempts, messages = describe_violations(TWICE, journal_of(tmp_path), found)
    assert record.startswith(f"a record: call:1={CALL} ")
    assert f"reply={'r' * 120} " in record
    assert "payload" not in record
    assert TOKEN not in record
    assert "1: turn 1, a:1:1, mark not_charged" in attempts
    assert "2: turn 1, a:1:2, mark None" in attempts
    assert messages == "a messages: clean in s1 at 1.5 to 2.5; broken in s2 at None to None"


def test_jobs_of_different_invariants_are_described_first() -> None:
    jobs = {name: job(session_id=f"s-{name}") for name in "abcdef"}
    evidence = replace(GOOD, jobs=jobs, inputs=dict.fromkeys(jobs, "p"))
    found = [
        "one: a: x",
        "one: b: x",
        "one: c: x",
        "two: session s-d: x",
        "three: nothing",
        "two: e",
    ]
    assert violating_jobs(evidence, found) == ["a", "d", "b"]


def test_the_lines_about_payments_name_the_job() -> None:
    lines = [line for line in violations(TWICE) if line.startswith("paid_once")]
    assert [line.partition(": ")[2].partition(":")[0] for line in lines] == ["a", "a"]


def test_jobs_that_do_not_end_are_described_with_what_may_keep_them(
    redis: Redis, tmp_path: Path
) -> None:
    ledger = Ledger(redis, "rq", lease_seconds=9)
    ledger.submit(NewJob(id="waits", payload={"image": "x.png"}, fingerprint="f"))
    ledger.submit(NewJob(id="runs", payload={}, fingerprint="g"))
    ledger.due(1, room=1, admit=1)
    redis.sadd(ledger.key("accounts"), "account-1")
    redis.hset(ledger.key("account", "account-1"), "cooling_until", 5)
    redis.zadd(ledger.key("slots", "account-1"), {"call-1": 1, "call-2": 2})
    log = ("[info     ] fine", f"[warning  ] payments stopped {TOKEN}", *["[error    ] e"] * 14)
    worker = Process(
        [sys.executable, "-c", f"print({json.dumps(chr(10).join(log))})"], tmp_path / "w1.log", {}
    )
    worker.wait()
    text = "\n".join(describe_unended(ledger, [worker]))
    assert text.startswith("w1.log: [warning  ] payments stopped [redacted]")
    assert text.count("w1.log: ") == 15
    assert TOKEN not in text
    assert "workers alive: 0" in text
    assert "state=queued" in text
    assert "state=preparing" in text
    assert "account-1: 2 slots, 0 reserved: cooling_until=5" in text
    assert "agenda: 1 jobs: " in text
    assert "flows: single:normal " in text
    assert "meta: " in text


def test_the_report_ends_with_the_seed_and_shows_few_violations_of_each_invariant(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = [f"no_job_is_lost: job-{number}: {'lost ' * 30}" for number in range(8)]
    show(RUN, GOOD, found, ["what is known [of a job]"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "Run it again with --seed 17"
    assert lines[-2] == "no_job_is_lost: 5 more"
    assert lines[-6] == "what is known [of a job]"
    show(RUN, GOOD, [])
    assert "Run it again" not in capsys.readouterr().out
