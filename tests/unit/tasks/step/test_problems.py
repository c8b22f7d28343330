"""A job that meets a problem of a store or a machine waits, says why, and is not lost."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tasks.cli.checks.doctor_checks import run_checks
from tasks.producer import queries
from tasks.step.context import StepContext
from tasks.step.exceptions import MAX_REPEATS
from tasks.step.problems import SOURCE_PATIENCE_SECONDS
from tasks.step.runner import JobFailedError, run_step
from tests.unit.conftest import OpenRuntime
from tests.unit.tasks.conftest import ProducerHarness
from worker.file_refusal import FileRefusedError
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.problems import Part, current_problems, report_problem
from worker.media.clip_frames import open_clip
from worker.resources.shortages import Shortage
from worker.runtime.checks.durability import CheckResult
from worker.runtime.checks.store_monitor import FIRST_RELEASE, StoreMonitor
from worker.runtime.runtime import Runtime
from worker.storage.errors import StoreError
from worker.storage.store import Store

Stage = Callable[[StepContext], Commit]
RunStage = Callable[[Stage], str]


@pytest.fixture
def runtime(
    harness: ProducerHarness, monkeypatch: pytest.MonkeyPatch, open_runtime: OpenRuntime
) -> Runtime:
    """A worker process on the harness's database."""
    opened = open_runtime(harness.producer.settings)
    monkeypatch.setattr("tasks.step.runner.get_runtime", lambda: opened)
    return opened


@pytest.fixture
def job_id(harness: ProducerHarness) -> str:
    return harness.submit()


@pytest.fixture
def run_stage(runtime: Runtime, job_id: str) -> RunStage:
    """Run the job's next step as soon as the ledger dispatches it, whatever its delay."""

    def run(stage: Stage) -> str:
        ledger = runtime.ledger
        ledger.redis.hset(ledger.key("job", job_id), "not_before", 0)
        ledger.redis.zadd(ledger.key("agenda"), {job_id: 0}, xx=True)
        ledger.due(10, room=10, admit=10)
        return run_step(job_id, dict.fromkeys(State, stage))

    return run


def doctor(harness: ProducerHarness) -> CheckResult:
    checks = {check.check: check for check in run_checks(harness.producer)}
    return checks["problems of workers"]


def full_disk(_: StepContext) -> Commit:
    with Path("/dev/full").open("wb") as file:
        file.write(b"x" * 100_000)
    raise AssertionError("the device is always full")


def too_many_files(_: StepContext) -> Commit:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def no_memory(_: StepContext) -> Commit:
    raise MemoryError


@pytest.mark.parametrize(
    ("stage", "part", "message"),
    [
        (full_disk, Part.SCRATCH_DISK, "The disk for temporary files of a worker is full."),
        (too_many_files, Part.OPEN_FILES, "A worker has too many open files."),
        (no_memory, Part.MEMORY, "A worker has no free memory."),
    ],
)
def test_a_job_waits_for_the_end_of_a_shortage_however_long_it_lasts(
    harness: ProducerHarness, run_stage: RunStage, stage: Stage, part: Part, message: str
) -> None:
    with capture_logs() as logs:
        for _ in range(3 * MAX_REPEATS):
            assert run_stage(stage) == "preparing"
    events = [log["event"] for log in logs if log["event"] != "step done"]
    assert events == ["jobs wait for a problem to end"], "logged once"
    (job,) = queries.list_jobs(harness.producer)
    assert job.progress.message == f"Retrying: {message}"
    (problem,) = current_problems(harness.producer.ledger)
    assert problem.part is part
    check = doctor(harness)
    assert not check.ok
    assert message in check.found
    assert check.remedy


def test_a_store_that_fails_for_long_holds_the_job_until_it_is_released(
    harness: ProducerHarness, runtime: Runtime, run_stage: RunStage, job_id: str, tmp_path: Path
) -> None:
    blocked = tmp_path / "output"
    blocked.write_text("a file where the store's folder should be")

    def write(step: StepContext) -> Commit:
        step.runtime.output.check()
        return Commit(State.RENDERING)

    with capture_logs() as logs:
        for _ in range(3 * MAX_REPEATS):
            assert run_stage(write) == "preparing"
    assert [log["event"] for log in logs].count("jobs wait for a problem to end") == 1
    progress = queries.get(harness.producer, job_id).progress.message
    assert progress.startswith(f"Retrying: The store {blocked.as_uri()} cannot be written")
    (problem,) = current_problems(runtime.ledger)
    assert problem.part is Part.OUTPUT_STORE
    assert blocked.as_uri() in doctor(harness).found
    ledger = runtime.ledger
    patience = runtime.settings.timing.store_patience_seconds
    began = ledger.now_ms() - int(patience * 1000)
    ledger.redis.hset(ledger.key("job", job_id), "trouble_since", began)
    assert run_stage(write) == "held"
    held = queries.get(harness.producer, job_id)
    assert held.reason is not None
    assert held.reason.code is Reason.STORE
    assert blocked.as_uri() in held.reason.message
    assert "reelqueue release --reason store" in held.reason.remedy
    assert ledger.held_ids(Reason.STORE) == [job_id]
    ledger.release(job_id)
    assert run_stage(write) == "preparing", "the time is counted again from the release"
    blocked.unlink()
    assert run_stage(write) == "rendering"


def test_a_server_that_asks_for_a_pause_is_tried_again_after_it(
    harness: ProducerHarness, runtime: Runtime, run_stage: RunStage, job_id: str
) -> None:
    def fetch(_: StepContext) -> Commit:
        message = "https://x.test/a.jpg returned HTTP status 503."
        raise FileRefusedError("source_unreachable", message, "Wait.", repeatable=True, wait=300)

    ledger = runtime.ledger
    for number in range(2 * MAX_REPEATS):
        assert run_stage(fetch) == "preparing", number
    record = ledger.redis.hgetall(ledger.key("job", job_id))
    assert int(record["not_before"]) - ledger.now_ms() > 290_000
    progress = queries.get(harness.producer, job_id).progress.message
    assert "HTTP status 503. Its server asks to wait; next try in" in progress
    assert " minutes" in progress
    # The limit is an hour.
    began = ledger.now_ms() - 3_400_000
    ledger.redis.hset(ledger.key("job", job_id), "trouble_since", began)
    with pytest.raises(
        JobFailedError, match="asks to wait for 5 minutes; a job waits for at most 60"
    ):
        run_stage(fetch)


def test_a_server_that_does_not_answer_is_tried_for_minutes(
    runtime: Runtime, run_stage: RunStage, job_id: str
) -> None:
    """A limited number of tries would fail all jobs of a batch within half a minute."""

    def fetch(_: StepContext) -> Commit:
        raise FileRefusedError("source_unreachable", "No answer.", "Wait.", repeatable=True)

    for number in range(2 * MAX_REPEATS):
        assert run_stage(fetch) == "preparing", number
    ledger = runtime.ledger
    record = ledger.redis.hgetall(ledger.key("job", job_id))
    assert int(record["not_before"]) - ledger.now_ms() < 91_000, "at least once in a minute or so"
    began = ledger.now_ms() - int(SOURCE_PATIENCE_SECONDS * 1000)
    ledger.redis.hset(ledger.key("job", job_id), "trouble_since", began)
    with pytest.raises(JobFailedError, match="No answer"):
        run_stage(fetch)


def test_a_server_that_asks_for_no_pause_is_tried_less_and_less_often(
    runtime: Runtime, run_stage: RunStage, job_id: str
) -> None:
    def fetch(_: StepContext) -> Commit:
        raise FileRefusedError("source_unreachable", "429.", "Wait.", repeatable=True, wait=0)

    for _ in range(2 * MAX_REPEATS):
        assert run_stage(fetch) == "preparing"
    ledger = runtime.ledger
    record = ledger.redis.hgetall(ledger.key("job", job_id))
    assert int(record["not_before"]) - ledger.now_ms() > 50_000


def test_a_server_that_asks_for_a_pause_of_more_than_an_hour_fails_the_job(
    run_stage: RunStage,
) -> None:
    def fetch(_: StepContext) -> Commit:
        raise FileRefusedError("source_unreachable", "503.", "Wait.", repeatable=True, wait=86_400)

    with pytest.raises(JobFailedError, match="Its server asks to wait for 1440 minutes"):
        run_stage(fetch)


def test_jobs_held_for_a_store_continue_step_by_step_once_it_works_again(
    harness: ProducerHarness, runtime: Runtime, tmp_path: Path
) -> None:
    blocked, ledger = tmp_path / "output", runtime.ledger
    blocked.write_text("a file where the store's folder should be")
    batch_id = harness.submit_batch(rows=2 * FIRST_RELEASE + 5)
    for _ in range(2 * FIRST_RELEASE + 5):
        harness.finish_next_step(Commit(State.HELD, reason=Reason.STORE))
    monitor = StoreMonitor(runtime)

    def held_after_check() -> int:
        monitor.run_once()
        return queries.get_batch(harness.producer, batch_id).held

    assert held_after_check() == 2 * FIRST_RELEASE + 5
    blocked.unlink()
    report_problem(ledger, Part.OUTPUT_STORE, "Another worker cannot reach it.", "Mend it.")
    assert held_after_check() == 2 * FIRST_RELEASE + 5
    ledger.redis.delete(ledger.key("problem", Part.OUTPUT_STORE))
    assert held_after_check() == FIRST_RELEASE + 5
    assert held_after_check() == 0


def test_an_image_that_always_exhausts_memory_is_refused_in_the_end(
    run_stage: RunStage,
) -> None:
    def decode(_: StepContext) -> Commit:
        raise FileRefusedError("bad_image", "It is damaged.", "Save it again.") from MemoryError()

    for _ in range(MAX_REPEATS):
        assert run_stage(decode) == "preparing"
    with pytest.raises(JobFailedError, match="bad_image"):
        run_stage(decode)


@pytest.mark.parametrize(
    ("operation", "shortage"), [("read", Shortage.SCRATCH_DISK), ("written", None)]
)
def test_a_full_scratch_disk_is_distinguished_from_a_full_store(
    tmp_path: Path, operation: str, shortage: Shortage | None
) -> None:
    store = Store((tmp_path / "store").as_uri())
    with (
        pytest.raises(StoreError, match="No space left") as caught,
        store._store_errors(operation),
        Path("/dev/full").open("wb") as full,
    ):
        full.write(b"x" * 100_000)
    assert caught.value.shortage is shortage


def test_a_clip_is_not_called_damaged_when_open_files_are_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    (tmp_path / "clip.mp4").write_bytes(b"x")
    monkeypatch.setattr("av.open", fail)
    with pytest.raises(OSError, match="open files"), open_clip(tmp_path / "clip.mp4"):
        pass
