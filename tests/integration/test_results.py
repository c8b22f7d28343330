"""The output store after the end of a batch, and the pruning of its records."""

import csv
from pathlib import Path

import pytest

from tasks.producer.submissions import new_job, with_key
from tasks.schema.image_job import ImageJob
from tests.support.ledger_access import recent_ids
from tests.support.stack import Stack
from tests.support.waiting import wait_until
from worker.media.clip_quality import content_findings
from worker.media.clips import inspect_clip

pytestmark = pytest.mark.integration

JOBS = 3


def submit(stack: Stack, batch_id: str, **payload: object) -> None:
    """Submit a batch of pictures that have the same name in different folders."""
    stack.ledger.open_batch(batch_id, "Spring / sale", stack.ledger.now_ms())
    for number in range(1, JOBS + 1):
        (stack.folder / str(number)).mkdir(exist_ok=True)
        image = stack.image(f"{number}/Blue mug.png")
        fields = {"image": str(image), "prompt": "a 1-second slow push-in", "data": {"sku": number}}
        job = ImageJob.model_validate({**fields, **payload})
        key = f"{batch_id}:{number}"
        stack.ledger.submit(with_key(new_job(job, batch_id=batch_id, row=number), key))
    stack.ledger.seal_batch(batch_id)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_clips_of_pictures_with_one_name_have_distinct_names_and_table_rows(stack: Stack) -> None:
    stack.start_sandbox()
    stack.start_worker()
    submit(stack, "0123456789", seconds=1)
    stack.wait_until_idle()
    folder = stack.folder / "output" / "Spring-sale-01234567"
    wait_until((folder / "manifest.csv").exists, "the table")
    names = [f"{number}-Blue-mug.mp4" for number in range(1, JOBS + 1)]
    assert sorted(path.name for path in folder.glob("*.mp4")) == names
    rows = table(folder / "manifest.csv")
    assert [Path(row["path"]).name for row in rows] == names
    assert {(row["state"], row["quality"], row["findings"]) for row in rows} == {
        ("succeeded", "ok", "")
    }
    for path in folder.glob("*.mp4"):
        look = inspect_clip(path, stack.folder / "poster.jpg")
        assert look.clip.codec == "h264"
        assert content_findings(look) == (), "a moving camera is not reported as frozen"


def test_workers_prune_old_records(stack: Stack) -> None:
    stack.start_sandbox()
    worker = stack.start_worker()
    submit(stack, "batch-0001")
    stack.wait_until_idle()
    (folder,) = (stack.folder / "output").glob("Spring-sale-*")
    wait_until((folder / "manifest.csv").exists, "the table")
    worker.kill()
    stack.start_worker(REELQUEUE_RESULT_DAYS="0.00001")
    wait_until(lambda: stack.ledger.batch("batch-0001") is None, "the batch to be pruned")
    assert recent_ids(stack.ledger, 10) == []
    assert stack.ledger.counts()[0] == {}
    assert stack.ledger.tombstone("batch-0001:1") is not None
    assert len(list(folder.glob("*.mp4"))) == JOBS
    assert [row["sku"] for row in table(folder / "manifest.csv")] == ["1", "2", "3"]
