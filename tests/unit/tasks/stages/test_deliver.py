"""A clip that an earlier step has stored is used; any other file is not, and is downloaded."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from uuid import uuid4

import pytest
from pydantic import SecretStr
from redis import Redis

from config.settings import ApiSettings, Settings
from tasks.stages.deliver import DOWNLOAD_PATIENCE_SECONDS, MAX_DOWNLOADS, _store_clip, deliver
from tasks.step.context import StepClock, StepContext
from tests.support.waiting import refusing_port
from tests.unit.conftest import OpenRuntime
from tests.unit.worker.media.clip_samples import clip
from worker.journal.entries import End
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.model.submissions import NewJob
from worker.ledger.model.verdicts import ReleaseVerdict
from worker.media.clips import inspect_clip
from worker.media.prepared_file import sha256_of
from worker.nemo.errors import Unreachable
from worker.runtime.leases import Lease
from worker.runtime.runtime import Runtime, client_factory


@pytest.fixture(params=["file", "memory"])
def step(
    request: pytest.FixtureRequest,
    redis: Redis,
    settings: Settings,
    tmp_path: Path,
    open_runtime: OpenRuntime,
) -> StepContext:
    """A step of a job whose clip is in the output store; nothing can be downloaded."""
    redis.ping()
    url = f"memory://{uuid4().hex}" if request.param == "memory" else settings.storage.output_url
    nowhere = f"http://127.0.0.1:{refusing_port()}"
    changes = {
        "api": ApiSettings(url=nowhere, tokens=(SecretStr("nmv_usr_t"),)),
        "storage": settings.storage.model_copy(update={"output_url": url}),
    }
    runtime = open_runtime(settings.model_copy(update=changes))
    ledger = runtime.ledger
    ledger.submit(NewJob(id="j", payload={"image": "cat.jpg"}, fingerprint="f"))
    ledger.due(1, room=1, admit=1)
    fence = ledger.claim("j", "w", "n").fence
    clip_file = clip(tmp_path / "clip.mp4", frames=25)
    runtime.output.put_file(clip_file, "single/cat.mp4")
    facts = {
        "source_url": f"{nowhere}/clip.mp4",
        "render_id": "r1",
        "clip_name": "single/cat",
        "stored": f"r1 {sha256_of(clip_file)}",
    }
    ledger.update_facts("j", fence, facts)
    ledger.commit("j", fence, Commit(State.DELIVERING))
    claim = ledger.claim("j", "w", "n2")
    return _step(runtime, claim.fence)


def _step(runtime: Runtime, fence: str) -> StepContext:
    job = runtime.ledger.job("j")
    assert job is not None
    return StepContext(runtime, job, Lease("j", fence, 0, 0), StepClock(runtime.ledger.now_ms()))


def test_a_stored_clip_is_delivered_without_a_download(step: StepContext, tmp_path: Path) -> None:
    end = deliver(step)
    assert end.state is State.SUCCEEDED
    assert sha256_of(tmp_path / "clip.mp4") in (end.facts or {})["clip"]
    assert step.runtime.output.exists("single/cat.jpg")


@pytest.mark.parametrize("wrong", ["another render", "other bytes", "gone", "never stored"])
def test_a_stored_file_that_is_not_the_clip_is_not_delivered(
    step: StepContext, tmp_path: Path, wrong: str
) -> None:
    fence = step.lease.fence
    match wrong:
        case "another render":
            step.update_facts(render_id="r2")
        case "never stored":
            step.update_facts(stored="")
        case "gone":
            step.runtime.output.delete("single/cat.mp4")
        case _:
            (tmp_path / "other.mp4").write_bytes(b"cut short")
            step.runtime.output.put_file(tmp_path / "other.mp4", "single/cat.mp4")
    with pytest.raises(Unreachable):
        deliver(_step(step.runtime, fence))


@pytest.fixture
def download(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server of one file: the address and the file."""
    file = tmp_path / "served" / "clip.mp4"
    file.parent.mkdir()
    handler = partial(_QuietHandler, directory=str(file.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/clip.mp4", file
        finally:
            server.shutdown()
            thread.join()


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


@pytest.mark.parametrize("cuts", [1, MAX_DOWNLOADS])
def test_an_incomplete_clip_is_downloaded_again_and_then_held(
    step: StepContext, download: tuple[str, Path], cuts: int
) -> None:
    """A release of the job renders again, and pays nothing."""
    url, file = download
    whole = clip(file).read_bytes()
    file.write_bytes(whole[: len(whole) * 2 // 3])
    ledger, fence = step.runtime.ledger, step.lease.fence
    step.update_facts(stored="", clip_name="", source_url=url)
    for number in range(cuts):
        end = deliver(_step(step.runtime, fence))
        if number < MAX_DOWNLOADS - 1:
            assert (end.state, end.delay) == (State.DELIVERING, 2.0**number)
        ledger.update_facts("j", fence, end.facts or {})
    if cuts < MAX_DOWNLOADS:
        file.write_bytes(whole)
        end = deliver(_step(step.runtime, fence))
        assert end.state is State.SUCCEEDED
        assert json.loads((end.facts or {})["clip"])["bytes"] == len(whole)
        return
    assert (end.state, end.reason) == (State.HELD, Reason.CLIP_INCOMPLETE)
    assert "5 downloads" in end.message
    assert "free of charge" in end.remedy
    ledger.commit("j", fence, end)
    assert ledger.release("j") is ReleaseVerdict.OK
    job = ledger.job("j")
    assert job is not None
    assert (job.state, job.fact("render_id"), job.paid_messages) == (State.RENDERING, None, 0)


def test_a_download_that_a_server_breaks_is_repeated_for_minutes(
    step: StepContext, download: tuple[str, Path]
) -> None:
    """An overloaded server sends an error page instead of the clip, which was paid for."""
    url, file = download
    file.write_text("<html>Try again later.</html>")
    api = ApiSettings(url=url.rpartition("/")[0], tokens=(SecretStr("nmv_usr_t"),))
    settings = step.runtime.settings.model_copy(update={"api": api})
    runtime = replace(step.runtime, open_client=client_factory(settings))
    ledger, fence = step.runtime.ledger, step.lease.fence
    step.update_facts(stored="", clip_name="", source_url=url)
    for number in range(2 * MAX_DOWNLOADS):
        end = deliver(_step(runtime, fence))
        assert end.state is State.DELIVERING, number
        ledger.update_facts("j", fence, end.facts or {})
    assert end.delay > MAX_DOWNLOADS, "less and less often"
    began = ledger.now_ms() - int(DOWNLOAD_PATIENCE_SECONDS * 1000)
    ledger.update_facts("j", fence, {"trouble_since": str(began)})
    end = deliver(_step(runtime, fence))
    assert (end.state, end.reason) == (State.FAILED, Reason.DELIVERY_FAILED)


def test_the_clip_of_another_ledger_is_never_replaced(step: StepContext, tmp_path: Path) -> None:
    """Another ledger creates a file after this job's name was recorded, before its own file."""
    output = step.runtime.output
    own_file = clip(tmp_path / "own.mp4", frames=12)
    own = inspect_clip(own_file, tmp_path / "own.jpg").clip
    step.update_facts(clip_name="single/mug", stored=f"r1 {own.sha256}")
    (tmp_path / "foreign").write_bytes(b"a clip that another ledger has paid for")
    output.put_file(tmp_path / "foreign", "single/mug.mp4")
    again = _step(step.runtime, step.lease.fence)
    name = _store_clip(again, own, own_file)
    assert name == "single/cat-2"
    assert again.job.facts["clip_name"] == name
    output.fetch("single/mug.mp4", tmp_path / "kept")
    assert (tmp_path / "kept").read_bytes() == (tmp_path / "foreign").read_bytes()
    after_a_crash = _step(step.runtime, step.lease.fence)
    assert _store_clip(after_a_crash, own, own_file) == name


@pytest.mark.parametrize("content", ["its own", "of another job"])
def test_a_clip_that_was_delivered_before_redis_lost_that_is_not_delivered_again(
    step: StepContext, tmp_path: Path, content: str
) -> None:
    """The restored record is older than the clip's name, but the journal has the end."""
    facts = {"stored": "", "clip_name": ""}
    step.runtime.ledger.update_facts("j", step.lease.fence, facts)
    step = _step(step.runtime, step.lease.fence)
    sha256 = sha256_of(tmp_path / "clip.mp4") if content == "its own" else "0" * 64
    before = {"clip_name": "single/cat", "stored": f"single/cat {sha256}", "clip": "{}"}
    step.runtime.journal.end(End("j", "succeeded", before))
    if content == "its own":
        end = deliver(step)
        assert end.state is State.SUCCEEDED
        assert (end.facts or {})["clip_name"] == "single/cat"
    else:
        with pytest.raises(Unreachable):
            deliver(step)
