"""A caller whose media store is not the one of the live workers is refused."""

from pathlib import Path
from typing import Protocol

import pytest

from config.settings import Settings
from tasks.cli.checks.doctor_checks import run_checks
from tasks.step.context import StepContext
from tasks.step.runner import JobFailedError, run_step
from tests.unit.conftest import OpenRuntime
from tests.unit.tasks.conftest import ProducerHarness, RunCommand
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.problems import current_problems
from worker.runtime.checks.store_ids import announce_stores, announced_stores
from worker.runtime.runtime import Runtime
from worker.runtime.worker_registry import register_worker, unregister_worker
from worker.storage.errors import StoreError
from worker.storage.store import Store


class StartWorker(Protocol):
    """Registers a worker whose stores are in a folder."""

    def __call__(self, folder: Path, name: str = "w1") -> Runtime: ...


@pytest.fixture
def start_worker(settings: Settings, open_runtime: OpenRuntime) -> StartWorker:
    def start(folder: Path, name: str = "w1") -> Runtime:
        urls = {
            "media_url": (folder / "media").as_uri(),
            "output_url": (folder / "output").as_uri(),
        }
        storage = settings.storage.model_copy(update=urls)
        runtime = open_runtime(settings.model_copy(update={"storage": storage}))
        register_worker(runtime.ledger, name, 10, 60)
        announce_stores(runtime, name)
        return runtime

    return start


def doctor(harness: ProducerHarness) -> dict[str, str]:
    """Return what doctor finds about the stores that fail."""
    checks = run_checks(harness.producer)
    return {c.check: c.found for c in checks if c.check.endswith(" store") and not c.ok}


def test_a_store_keeps_the_id_of_its_first_use(tmp_path: Path) -> None:
    url, other = (tmp_path / "one").as_uri(), (tmp_path / "two").as_uri()
    assert Store(url).read_id() is None
    made = Store(url).ensure_id()
    assert Store(url).ensure_id() == Store(url).read_id() == made
    assert Store(other).ensure_id() != made


def test_a_caller_with_another_media_store_is_refused(
    harness: ProducerHarness, start_worker: StartWorker, tmp_path: Path
) -> None:
    runtime = start_worker(tmp_path / "elsewhere")
    with pytest.raises(StoreError) as caught:
        harness.submit(image=str(harness.picture()))
    assert harness.producer.media.address in caught.value.message
    assert runtime.media.address in caught.value.message
    assert "REELQUEUE_MEDIA_URL" in caught.value.remedy
    found = doctor(harness)
    assert set(found) == {"media store", "output store"}
    assert runtime.output.address in found["output store"]
    harness.submit(image="https://example.org/needs-no-store.jpg")
    unregister_worker(runtime.ledger, "w1")
    assert harness.submit(image=str(harness.picture())), "without a live worker"
    assert doctor(harness) == {}


def test_a_caller_with_another_address_of_the_same_store_is_accepted(
    harness: ProducerHarness, start_worker: StartWorker, tmp_path: Path
) -> None:
    (tmp_path / "mounted").symlink_to(tmp_path)
    runtime = start_worker(tmp_path / "mounted")
    assert runtime.media.address != harness.producer.media.address
    assert harness.submit(image=str(harness.picture()))
    assert doctor(harness) == {}


def test_two_workers_with_different_stores_are_reported(
    harness: ProducerHarness, start_worker: StartWorker, tmp_path: Path
) -> None:
    """Each worker would deliver its clips to another place."""
    start_worker(tmp_path)
    assert doctor(harness) == {}
    other = start_worker(tmp_path / "elsewhere", "w2")
    found = doctor(harness)
    assert set(found) == {"media store", "output store"}
    assert other.media.address in found["media store"]


def test_a_file_that_another_worker_may_have_is_not_called_missing(
    harness: ProducerHarness,
    start_worker: StartWorker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise one worker with a wrong setting would fail the jobs of all workers."""
    start_worker(tmp_path)
    job_id = harness.submit(image=str(harness.picture()))
    other = start_worker(tmp_path / "elsewhere", "w2")
    job = harness.producer.ledger.job(job_id)
    assert job is not None
    key = str(job.payload["media"])

    def fetch(step: StepContext) -> Commit:
        step.runtime.media.fetch(key, tmp_path / "copy")
        raise AssertionError("it is in another store")

    monkeypatch.setattr("tasks.step.runner.get_runtime", lambda: other)
    harness.producer.ledger.due(10, room=10, admit=10)
    assert run_step(job_id, dict.fromkeys(State, fetch)) == "preparing"
    (problem,) = current_problems(other.ledger)
    assert "do not use the same media store" in problem.message
    unregister_worker(other.ledger, "w1")
    ledger = harness.producer.ledger
    ledger.redis.hset(ledger.key("job", job_id), "not_before", 0)
    ledger.redis.zadd(ledger.key("agenda"), {job_id: 0})
    ledger.due(10, room=10, admit=10)
    with pytest.raises(JobFailedError, match="source_unreachable"):
        run_step(job_id, dict.fromkeys(State, fetch))


def test_a_store_that_is_not_mounted_any_more_is_not_announced_as_a_new_one(
    harness: ProducerHarness, start_worker: StartWorker, tmp_path: Path
) -> None:
    runtime = start_worker(tmp_path)
    announced = announced_stores(runtime.ledger, "media")
    (tmp_path / "media").rename(tmp_path / "unmounted")
    announce_stores(runtime, "w1")
    assert announced_stores(runtime.ledger, "media") == announced
    assert not (tmp_path / "media").exists()
    assert [problem.part for problem in current_problems(runtime.ledger)] == ["media_store"]
    assert set(doctor(harness)) == {"media store"}


@pytest.mark.parametrize("command", ["results", "prune"])
def test_commands_touch_no_clips_in_another_output_store(
    harness: ProducerHarness,
    start_worker: StartWorker,
    run_command: RunCommand,
    tmp_path: Path,
    command: str,
) -> None:
    batch_id = harness.submit_batch(1)
    harness.finish_next_step(Commit(State.FAILED, reason=Reason.BAD_IMAGE))
    start_worker(tmp_path / "elsewhere")
    if command == "results":
        done = run_command("results", batch_id)
        assert (done.code, "paths of the clips may be wrong" in done.err) == (0, True)
    else:
        done = run_command("prune", "--days", "0", "--clips")
        assert (done.code, "REELQUEUE_OUTPUT_URL" in done.err) == (3, True)
        assert harness.producer.ledger.batch(batch_id) is not None
    assert not list((tmp_path / "output").rglob("manifest*.csv"))
