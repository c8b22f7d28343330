"""Fixtures: settings, a producer on an empty database, and the command line."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from PIL import Image
from pydantic import SecretStr
from redis import Redis

from config.settings import RedisSettings, Settings, StorageSettings
from tasks.manifests.batch_submission import submit_manifest
from tasks.manifests.manifest import Manifest
from tasks.manifests.rows import rows_of_jobs
from tasks.producer import submissions
from tasks.producer.producer import Producer
from tests.support.commands import CommandResult, run_reelqueue
from tests.support.valkey import Valkey
from tests.support.waiting import refusing_port, wait_until
from worker.ledger.model.states import State
from worker.ledger.model.steps import Commit

RunCommand = Callable[..., CommandResult]


@dataclass
class ProducerHarness:
    """A producer, and the transitions that a worker would make."""

    producer: Producer
    folder: Path

    def picture(self, name: str = "photo.png", shade: int = 90) -> Path:
        """Write a small picture and return its path."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (64, 64), (shade, 20, 30)).save(path)
        return path

    def submit(self, **fields: object) -> str:
        """Submit a job and return its id."""
        payload = {"image": "https://example.org/a.jpg", **fields}
        return submissions.submit(self.producer, payload).job_id

    def manifest(self, *rows: Mapping[str, object]) -> Manifest:
        """Return a manifest with rows; relative paths start in the test's folder."""
        return Manifest("spring", self.folder, rows_of_jobs(rows))

    def submit_batch(self, rows: int) -> str:
        """Submit a batch of images given by address and return its id."""
        images = [{"image": f"https://example.org/{row}.jpg"} for row in range(rows)]
        return submit_manifest(self.producer, self.manifest(*images)).batch_id

    def claim(self, job_id: str) -> str:
        """Dispatch all jobs, claim one, and return its fence."""
        self.producer.ledger.due(100, room=100, admit=100)
        claim = self.producer.ledger.claim(job_id, "w", "n")
        assert claim.verdict == "OK"
        return claim.fence

    def finish_step(self, job_id: str, state: State, **commit: object) -> None:
        """Claim a job and commit its step."""
        fence = self.claim(job_id)
        end = Commit(state, **commit)  # type: ignore[arg-type]
        assert self.producer.ledger.commit(job_id, fence, end)

    def finish_next_step(self, end: Commit) -> str:
        """Claim the next job as soon as one is due, commit its step, and return its id."""
        ledger = self.producer.ledger
        ((job_id, _),) = wait_until(lambda: ledger.due(1, room=1, admit=1), "a job to be due")
        fence = ledger.claim(job_id, "w", uuid4().hex).fence
        assert ledger.commit(job_id, fence, end)
        return job_id

    def begin_payment(self, job_id: str, cost: float = 100) -> None:
        """Claim a job and begin a paid message whose outcome stays unknown."""
        ledger = self.producer.ledger
        fence = self.claim(job_id)
        ledger.update_facts(job_id, fence, {"account": "a"})
        ledger.scripts.run("balance", "a", 1, 1000, 0, 1000)
        ledger.scripts.run("begin_paid", job_id, fence, 1, f"{job_id}:1", cost, 31_000, 10)


@pytest.fixture
def settings(valkey: Valkey, tmp_path: Path) -> Settings:
    """Settings for a real Valkey, and for stores in the test's own folder."""
    return Settings(
        redis=RedisSettings(url=SecretStr(valkey.url)),
        storage=StorageSettings(
            media_url=(tmp_path / "media").as_uri(), output_url=(tmp_path / "output").as_uri()
        ),
    )


@pytest.fixture
def harness(redis: Redis, settings: Settings, tmp_path: Path) -> Iterator[ProducerHarness]:
    """A producer on an empty database."""
    redis.ping()
    producer = Producer.open(settings)
    yield ProducerHarness(producer, tmp_path)
    producer.ledger.redis.close()


@pytest.fixture
def run_command(
    harness: ProducerHarness, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> RunCommand:
    """Run `reelqueue` commands on the same database, in the test's folder."""
    monkeypatch.chdir(harness.folder)
    monkeypatch.setenv("REDIS_URL", settings.redis.url.get_secret_value())
    monkeypatch.setenv("REELQUEUE_MEDIA_URL", settings.storage.media_url)
    monkeypatch.setenv("REELQUEUE_OUTPUT_URL", settings.storage.output_url)
    monkeypatch.setenv("NEMO_API_URL", f"http://127.0.0.1:{refusing_port()}")

    return run_reelqueue
