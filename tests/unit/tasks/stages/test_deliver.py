"""A clip that an earlier try has stored is taken from the store; what is not it is fetched."""

from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr
from redis import Redis

from config.settings import ApiSettings, Settings
from tasks.stages.deliver import deliver
from tasks.step.context import StepContext
from tests.support.waiting import free_port
from tests.unit.worker.media.test_clips import clip
from worker.ledger.ledger import Commit
from worker.ledger.model.states import State
from worker.ledger.model.submissions import NewJob
from worker.media.prepared_file import sha256_of
from worker.nemo.errors import Unreachable
from worker.runtime.leases import Lease
from worker.runtime.runtime import Runtime


@pytest.fixture(params=["file", "memory"])
def step(
    request: pytest.FixtureRequest, redis: Redis, settings: Settings, tmp_path: Path
) -> StepContext:
    """A job that is to be delivered, and was delivered once; nothing can be fetched any more."""
    redis.ping()
    url = f"memory://{uuid4().hex}" if request.param == "memory" else settings.storage.output_url
    nowhere = f"http://127.0.0.1:{free_port()}"
    changes = {
        "api": ApiSettings(url=nowhere, tokens=(SecretStr("nmv_usr_t"),)),
        "storage": settings.storage.model_copy(update={"output_url": url}),
    }
    runtime = Runtime.open(settings.model_copy(update=changes))
    ledger = runtime.ledger
    ledger.submit(NewJob(id="j", payload={"image": "cat.jpg"}, fingerprint="f"))
    ledger.due(1, room=1, admit=1)
    fence = int(ledger.claim("j", "w", "n").record["fence"])
    film = clip(tmp_path / "clip.mp4", frames=25)
    runtime.output.put_file(film, "single/cat.mp4")
    facts = {
        "source_url": f"{nowhere}/clip.mp4",
        "render_id": "r1",
        "clip_name": "single/cat",
        "stored": f"r1 {sha256_of(film)}",
    }
    ledger.update_facts("j", fence, facts)
    ledger.commit("j", fence, Commit(State.DELIVERING))
    claim = ledger.claim("j", "w", "n2")
    return _step(runtime, int(claim.record["fence"]))


def _step(runtime: Runtime, fence: int) -> StepContext:
    job = runtime.ledger.job("j")
    assert job is not None
    return StepContext(runtime, job, Lease("j", fence, 0, 0))


def test_it_is_delivered_from_the_store(step: StepContext, tmp_path: Path) -> None:
    end = deliver(step)
    assert end.state is State.SUCCEEDED
    assert sha256_of(tmp_path / "clip.mp4") in (end.facts or {})["clip"]
    assert step.runtime.output.exists("single/cat.jpg")


@pytest.mark.parametrize("wrong", ["another render", "other bytes", "gone", "never stored"])
def test_what_is_not_it_is_fetched_anew(step: StepContext, tmp_path: Path, wrong: str) -> None:
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
