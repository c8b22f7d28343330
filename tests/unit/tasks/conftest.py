"""A producer on an empty namespace, and records to look at."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from PIL import Image
from pydantic import SecretStr
from redis import Redis

from config.settings import Settings
from tasks.producer.producer import Producer
from tests.support.commands import Answer, reelqueue
from tests.support.valkey import Valkey
from tests.support.waiting import free_port, wait_until
from worker.ledger.ledger import Commit
from worker.ledger.model.states import State

Ask = Callable[..., Answer]


@dataclass
class Desk:
    """A producer, and hands that do a worker's part."""

    producer: Producer
    folder: Path

    def picture(self, name: str = "photo.png", shade: int = 90) -> Path:
        """A small picture."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 6), (shade, 20, 30)).save(path)
        return path

    def submit(self, **fields: object) -> str:
        """A job that is queued; its id."""
        payload = {"image": "https://example.org/a.jpg", **fields}
        return self.producer.submit(payload).job_id

    def take(self, job_id: str) -> int:
        """Hand everything out, and claim one job; the fence."""
        self.producer.ledger.due(100, room=100, admit=100)
        claim = self.producer.ledger.claim(job_id, "w", "n")
        assert claim.verdict == "OK"
        return int(claim.record["fence"])

    def end(self, job_id: str, state: State, **commit: object) -> None:
        """Take a job, and end its step."""
        fence = self.take(job_id)
        end = Commit(state, **commit)  # type: ignore[arg-type]
        assert self.producer.ledger.commit(job_id, fence, end)

    def end_next(self, end: Commit) -> str:
        """Take the next job as soon as there is one, and end its step; its id."""
        ledger = self.producer.ledger
        ((job_id, _),) = wait_until(lambda: ledger.due(1, room=1, admit=1), "a job to be due")
        fence = int(ledger.claim(job_id, "w", uuid4().hex).record["fence"])
        assert ledger.commit(job_id, fence, end)
        return job_id

    def pay(self, job_id: str, cost: float = 100) -> None:
        """Take a job, and let it send its message and lose the outcome."""
        ledger = self.producer.ledger
        fence = self.take(job_id)
        ledger.record(job_id, fence, {"account": "a"})
        ledger.scripts.run("balance", "a", 1, 1000, 0, 1000)
        ledger.scripts.run("begin_paid", job_id, fence, 1, f"{job_id}:1", cost, 31_000, 10)


@pytest.fixture
def settings(valkey: Valkey, tmp_path: Path) -> Settings:
    """Settings that lead to a real Valkey and to folders of the test's own."""
    return Settings(
        redis_url=SecretStr(valkey.url),
        media_url=(tmp_path / "media").as_uri(),
        output_url=(tmp_path / "output").as_uri(),
        _env_file=None,
    )


@pytest.fixture
def desk(redis: Redis, settings: Settings, tmp_path: Path) -> Iterator[Desk]:
    """An empty desk."""
    redis.ping()
    producer = Producer.open(settings)
    yield Desk(producer, tmp_path)
    producer.ledger.redis.close()


@pytest.fixture
def ask(desk: Desk, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Run a command on the desk's Valkey, in its folder."""
    monkeypatch.chdir(desk.folder)
    monkeypatch.setenv("REDIS_URL", settings.redis_url.get_secret_value())
    monkeypatch.setenv("REELQUEUE_MEDIA_URL", settings.media_url)
    monkeypatch.setenv("REELQUEUE_OUTPUT_URL", settings.output_url)
    monkeypatch.setenv("NEMO_API_URL", f"http://127.0.0.1:{free_port()}")

    return reelqueue
