"""Which queued jobs start: limits for preparing, for slow image servers and for generating."""

import pytest

from tests.unit.worker.ledger.conftest import LedgerHarness
from worker.ledger.model.states import State
from worker.ledger.model.steps import Commit
from worker.ledger.model.submissions import NewJob, source_host
from worker.runtime.worker_registry import register_worker
from worker.telemetry.start_blockage import start_blockage

SLOW = 11
"""Seconds after which a job that still fetches its image does not count as about to pay."""


def submit(harness: LedgerHarness, job_id: str, image: str, priority: str = "normal") -> None:
    payload = {"image": image}
    harness.ledger.submit(NewJob(id=job_id, payload=payload, fingerprint="f", priority=priority))


def start(harness: LedgerHarness, *, admit: int = 8, prepare: int = 32) -> list[str]:
    """Start queued jobs and claim them, and return which."""
    due = harness.ledger.due(100, room=100, admit=admit, prepare=prepare, places=100)
    found = [job_id for job_id, state in due if state is State.PREPARING]
    for job_id in found:
        harness.ledger.claim(job_id, "w1", f"n-{job_id}")
    return found


def preparing(harness: LedgerHarness) -> list[str]:
    """Return the jobs that are preparing."""
    return [str(job_id) for job_id in harness.redis.zrange("preparing:{t}", 0, -1)]


def keep_running(harness: LedgerHarness, seconds: float) -> None:
    """Let time pass while the owners of all preparing jobs renew their leases."""
    fences = [(job_id, f"1:n-{job_id}") for job_id in preparing(harness)]
    harness.later(seconds)
    harness.ledger.heartbeat(fences)


def test_jobs_that_are_settling_do_not_keep_others_from_starting(harness: LedgerHarness) -> None:
    for n in range(8):
        submit(harness, f"j{n}", "/a.png")
    for job_id in start(harness):
        harness.ledger.commit(job_id, f"1:n-{job_id}", Commit(State.SETTLING, delay=900))
    submit(harness, "next", "/a.png")
    assert start(harness) == ["next"]


def test_jobs_of_a_slow_image_server_do_not_keep_others_from_starting(
    harness: LedgerHarness,
) -> None:
    for n in range(60):
        submit(harness, f"slow{n:02}", "https://slow.example/a.png")
    assert len(start(harness)) == 8, "it is not known yet that the server is slow"
    keep_running(harness, SLOW)
    assert start(harness) == [], "few jobs of a slow server run at a time"
    submit(harness, "same-flow", "/b.png")
    submit(harness, "other", "https://fast.example/b.png", "low")
    assert sorted(start(harness)) == ["other", "same-flow"]


def test_a_job_of_a_slow_image_server_starts_when_an_earlier_one_is_done(
    harness: LedgerHarness,
) -> None:
    for n in range(10):
        submit(harness, f"slow{n}", "https://slow.example/a.png")
    first = start(harness)
    keep_running(harness, SLOW)
    for job_id in first[:5]:
        harness.ledger.commit(job_id, f"1:n-{job_id}", Commit(State.CANCELLED))
    assert start(harness) == ["slow8", "slow9"]


def test_slow_jobs_of_low_priority_leave_room_to_prepare_urgent_ones(
    harness: LedgerHarness,
) -> None:
    for n in range(40):
        submit(harness, f"slow{n}", f"https://slow{n}.example/a.png", "low")
    for _ in range(5):
        start(harness, prepare=16)
        keep_running(harness, SLOW)
    assert harness.redis.hget("counts:{t}", "n:preparing") == "8", "half of it"
    submit(harness, "urgent", "https://slow99.example/a.png", "high")
    assert start(harness, prepare=16) == ["urgent"]


def test_images_in_the_media_store_are_not_held_back_by_those_that_are_fetched(
    harness: LedgerHarness,
) -> None:
    for n in range(20):
        submit(harness, f"far{n:02}", f"https://host{n}.example/a.png")
    for n in range(20):
        submit(harness, f"near{n:02}", "/b.png")
    first = start(harness, admit=100, prepare=8)
    assert [name for name in first if name.startswith("far")] == [f"far{n:02}" for n in range(6)]
    assert len(first) == 26, "all whose images are near, of the same flow"
    assert harness.redis.scard("fetching:{t}") == 6
    for job_id in (*first[:2], *first[-2:]):
        harness.ledger.commit(job_id, f"1:n-{job_id}", Commit(State.GENERATING))
    assert harness.redis.scard("fetching:{t}") == 4
    assert start(harness, admit=100, prepare=8) == ["far06", "far07"]


def test_a_thousand_images_of_the_media_store_start_in_one_tick(harness: LedgerHarness) -> None:
    for n in range(1100):
        submit(harness, f"j{n}", "/b.png")
    due = harness.ledger.due(5000, room=5000, admit=1000, prepare=1, places=2000)
    assert len(due) == 1000


def test_a_flow_that_was_passed_over_gains_no_priority(harness: LedgerHarness) -> None:
    for n in range(30):
        submit(harness, f"low{n}", f"https://slow{n}.example/a.png", "low")
    for n in range(300):
        submit(harness, f"high{n}", "/a.png", "high")
    for _ in range(60):
        for job_id in start(harness, admit=4, prepare=4):
            if job_id.startswith("high"):
                harness.ledger.commit(job_id, f"1:n-{job_id}", Commit(State.CANCELLED))
        keep_running(harness, SLOW)
    for job_id in preparing(harness):
        harness.ledger.commit(job_id, f"1:n-{job_id}", Commit(State.CANCELLED))
    found = start(harness, admit=17, prepare=40)
    assert len(found) == 17
    assert sum(job_id.startswith("low") for job_id in found) <= 2, "one for 16 of high priority"


@pytest.mark.parametrize(
    ("payload", "host"),
    [
        ({"image": "https://cdn.example:8443/a.png"}, "cdn.example:8443"),
        ({"image": "https://user:secret@CDN.example/a.png?sig=1"}, "cdn.example"),
        ({"image": "/srv/a.png"}, ""),
        ({"image": "s3://Bucket/a.png"}, "s3://Bucket"),
        ({"image": "sftp://user@Server.example/a.png"}, "sftp://server.example"),
        ({"image": "s3://../a.png"}, ""),
        ({"image": "https://cdn.example/a.png", "media": "media:abc"}, ""),
        ({"image": "https://cdn.example/a.png", "pass_url": True}, ""),
        ({"image": "/a.png", "attach": ["https://music.example/a.mp3"]}, "music.example"),
        ({"image": "https://[bad"}, ""),
        ({}, ""),
    ],
)
def test_the_source_of_a_job_is_the_server_that_its_files_come_from(
    payload: dict[str, object], host: str
) -> None:
    assert source_host(payload) == host


def blockage(harness: LedgerHarness) -> str:
    return str(start_blockage(harness.ledger) or "")


def test_after_a_minute_without_a_start_the_limit_that_was_reached_is_named(
    harness: LedgerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness.ledger, "now_ms", lambda: int(harness.redis.get("test:clock") or 0))
    register_worker(harness.ledger, "w1", 100, 10_000, why_not_pay="the disk is full")
    harness.payments.record_balance("a", read_at=1, available=900, frozen=0, total=900)
    for n in range(9):
        submit(harness, f"j{n}", "/a.png")
    for job_id in start(harness):
        harness.ledger.commit(job_id, f"1:n-{job_id}", Commit(State.GENERATING))
    start(harness)
    assert blockage(harness) == "", "it may start within a minute"
    harness.later(61)
    start(harness)
    said = blockage(harness)
    assert said.startswith("No job has started for 61 s: 8 jobs are about to pay or generating.")
    assert "Payments are stopped: the disk is full" in said
    assert "a sends at most 5 messages at a time." in said
    harness.later(61)
    register_worker(harness.ledger, "w1", 100, -1)
    assert blockage(harness).endswith("no worker is running.")
    start(harness, admit=9)
    assert blockage(harness) == "", "one has started"


def test_a_slow_image_server_that_stops_starts_is_named(
    harness: LedgerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness.ledger, "now_ms", lambda: int(harness.redis.get("test:clock") or 0))
    for n in range(9):
        submit(harness, f"j{n}", "https://slow.example/a.png")
    start(harness)
    keep_running(harness, SLOW)
    start(harness)
    keep_running(harness, 25)
    start(harness)
    keep_running(harness, 25)
    start(harness)
    keep_running(harness, 25)
    assert "8 jobs are preparing, most of them waiting for slow.example" in blockage(harness)


def test_the_window_grows_back_in_idle_time(harness: LedgerHarness) -> None:
    harness.redis.hset("account:{t}:a", "window", 8)
    for _ in range(3):
        harness.payments.record_rate_limited("a", 30)
        harness.later(30)
    assert harness.ledger.account("a").window == 2
    seen = []
    for _ in range(8):
        harness.payments.grow_window("a")
        seen.append(harness.ledger.account("a").window)
        harness.later(60)
    assert seen == [2, 3, 4, 5, 6, 7, 8, 8], "up to where it was, and no further"
