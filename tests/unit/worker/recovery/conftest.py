"""A ledger and a journal with the jobs that a test writes into them."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tests.unit.worker.journal.conftest import entry
from worker.journal.entries import End, Entry
from worker.journal.journal import Journal
from worker.ledger.ledger import Ledger
from worker.ledger.model.jobs import Job
from worker.recovery.identity_guard import IdentityGuard
from worker.recovery.job_restorer import Counts, JobRestorer
from worker.storage.store import Store

CLIP = '{"key": "job-1.mp4", "sha256": "aa"}'


@dataclass
class Scene:
    """One namespace, whose Redis a test can lose."""

    redis: Redis
    folder: Path

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.redis, "rq", lease_seconds=30)

    @property
    def journal(self) -> Journal:
        return Journal.open((self.folder / "journal").as_uri(), "rq")

    def guard(
        self,
        writer: str = "w",
        watch_seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> IdentityGuard:
        """What compares ledger and journal in one process."""
        return IdentityGuard(
            self.ledger, self.journal, writer=writer, watch_seconds=watch_seconds, clock=clock
        )

    def restorer(self, *, dry_run: bool = False) -> JobRestorer:
        output = Store((self.folder / "output").as_uri())
        return JobRestorer(self.ledger, self.journal, output, dry_run=dry_run)

    def restore_all(self, *, dry_run: bool = False) -> Counts:
        """Restore all pages, whatever the identities say."""
        restorer = self.restorer(dry_run=dry_run)
        for page in self.journal.pages():
            restorer.restore_page(page)
        return restorer.counts

    def pay(self, job_id: str, attempt: int = 1, **fields: Any) -> Entry:
        """Write the entry of a payment into the journal."""
        paid = replace(entry(attempt, job_id=job_id), **fields)
        self.journal.create(paid)
        return paid

    def end(self, job_id: str, state: str, *, has_clip: bool = True) -> None:
        """Write the end of a job into the journal, and its clip into the store."""
        facts = {"reason": "bad_clip", "message": "broken", "remedy": "redo"}
        if state == "succeeded":
            facts = {"clip": CLIP.replace("job-1", job_id), "clip_name": job_id, "draft": "d"}
            facts["stored"] = f"{job_id} aa"
        if has_clip:
            clip = self.folder / "output" / f"{job_id}.mp4"
            clip.parent.mkdir(exist_ok=True)
            clip.write_bytes(b"clip")
        self.journal.end(End(job_id, state, facts))

    def job(self, job_id: str) -> Job:
        found = self.ledger.job(job_id)
        assert found is not None
        return found


@pytest.fixture
def scene(redis: Redis, tmp_path: Path) -> Scene:
    return Scene(redis, tmp_path)
