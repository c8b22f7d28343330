"""A job whose source image and clip are in S3, through a real worker under gevent."""

import hashlib
import json
from pathlib import Path

import pytest

from tasks.producer.producer import default_producer
from tasks.producer.submissions import enqueue
from tasks.schema.image_job import ImageJob
from tests.support.commands import run_reelqueue
from tests.support.s3 import s3_server
from tests.support.stack import Stack
from tests.support.waiting import wait_until
from worker.ledger.model.states import Reason, State
from worker.storage.store import Store

pytestmark = pytest.mark.integration


def test_a_job_with_both_stores_in_s3_delivers_its_clip(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server() as s3:
        stack.start_sandbox()
        output_url, sources = f"s3://{s3.bucket()}/clips", f"s3://{s3.bucket()}"
        stack.env |= {
            **s3.env,
            "REELQUEUE_MEDIA_URL": f"s3://{s3.bucket()}/media",
            "REELQUEUE_OUTPUT_URL": output_url,
            "REELQUEUE_MEDIA_ROOTS": f"{tmp_path},{sources}/allowed",
        }
        for name, value in stack.env.items():
            monkeypatch.setenv(name, value)
        stack.start_worker()
        wait_until(lambda: stack.redis.hlen("worker_stores:{rq}"), "the worker to announce stores")
        job_ids = []
        for _ in range(3):
            prompt = "a 1-second slow push-in"
            submitted = run_reelqueue(
                "submit", stack.image("mug.png"), "--prompt", prompt, "--json"
            )
            assert submitted.code == 0, submitted.err
            job_ids.append(submitted.records[0]["job_id"])
        # As a message to tasks.submit: the worker reads the source, if it may.
        Store(sources).put_file(Path(stack.image("mug.png")), "allowed/mug.png")
        for folder in ("allowed", "other"):
            image = ImageJob(image=f"{sources}/{folder}/mug.png", prompt=prompt)
            job_ids.append(enqueue(default_producer(), image).job_id)
        jobs = [
            stack.wait_for(job_id, State.SUCCEEDED, State.FAILED, State.HELD) for job_id in job_ids
        ]
        *jobs, forbidden = jobs
        assert [job.state for job in jobs] == [State.SUCCEEDED] * 4
        assert (forbidden.state, forbidden.reason) == (State.FAILED, Reason.FORBIDDEN_SOURCE)
        output = Store(output_url)
        for job in jobs:
            clip = json.loads(job.facts["clip"])
            output.fetch(clip["key"], tmp_path / "clip.mp4")
            content = (tmp_path / "clip.mp4").read_bytes()
            assert hashlib.sha256(content).hexdigest() == clip["sha256"]
            assert output.exists(clip["poster"])
        keys = {json.loads(job.facts["clip"])["key"] for job in jobs}
        assert keys == {f"single/{name}.mp4" for name in ("mug", "mug-2", "mug-3", "mug-4")}
        checks = {record["check"]: record for record in run_reelqueue("doctor", "--json").records}
        assert checks["media store"]["ok"]
        assert checks["output store"]["ok"]
        monkeypatch.setenv("REELQUEUE_MEDIA_URL", (tmp_path / "other").as_uri())
        refused = run_reelqueue("submit", stack.image("cup.png"), "--prompt", prompt)
        assert refused.code != 0
        assert stack.env["REELQUEUE_MEDIA_URL"] in refused.err
        monkeypatch.setenv("REELQUEUE_OUTPUT_URL", "s3://no-such-bucket/clips")
        checks = {record["check"]: record for record in run_reelqueue("doctor", "--json").records}
        assert not checks["output store"]["ok"]
        assert "s3://no-such-bucket/clips" in checks["output store"]["found"]
