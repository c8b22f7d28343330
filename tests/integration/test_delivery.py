"""A clip that is already in the store is delivered, even if its link has expired."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ftp import ftp_server
from tests.support.stack import Stack
from tests.support.waiting import wait_until
from worker.faultpoints import VARIABLE
from worker.ledger.model.states import State

pytestmark = pytest.mark.integration

EXPIRED_LINK = {"call": "download", "action": "gone", "times": 1000}


@pytest.fixture(params=["file", "ftp"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A store in ``clips``, and the number of files in it after which the worker is killed.

    The first file is the clip, the second its poster.
    """
    if request.param == "file":
        yield (tmp_path / "clips").as_uri(), 1
        return
    with ftp_server(tmp_path) as url:
        yield f"{url}/clips", 2


def test_a_stored_clip_is_delivered_after_its_worker_died_and_its_link_expired(
    stack: Stack, output: tuple[str, int]
) -> None:
    url, files = output
    stack.start_sandbox()
    left_over = stack.folder / "clips" / ".parts" / "1-of-a-killed-process"
    left_over.parent.mkdir(parents=True)
    left_over.touch()
    env = {"REELQUEUE_OUTPUT_URL": url}
    # The first two files are the ids of the media and the output store.
    trap = {VARIABLE: f"store.rename:after=kill@{files + 2}"}
    victim = stack.start_worker(**env, **trap)
    job_id = stack.submit(stack.image())
    wait_until(lambda: not victim.alive, "the worker to die")
    assert stack.job(job_id).state is State.DELIVERING
    clips = stack.folder / "clips" / "single"
    before = {path.name: path.read_bytes() for path in clips.iterdir()}
    assert len(before) == files
    stack.sandbox.inject_faults(EXPIRED_LINK)
    stack.start_worker(**env)
    job = stack.wait_for(job_id, State.SUCCEEDED, State.FAILED)
    assert (job.state, job.fact("stored")) == (State.SUCCEEDED, None)
    after = {path.name: path.read_bytes() for path in clips.iterdir()}
    assert sorted(after) == ["photo1.jpg", "photo1.mp4"]
    assert before.items() <= after.items()
    assert hashlib.sha256(after["photo1.mp4"]).hexdigest() in job.facts["clip"]
    (render,) = stack.renders_of(job)
    assert render["downloads"] == 1
    wait_until(lambda: not left_over.exists(), "the leading worker to delete partial files")
