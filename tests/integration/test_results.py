"""What lies in the output store when a batch has ended, and what becomes of its records."""

import csv
from pathlib import Path

import pytest

from tasks.producer.submissions import new_job, with_key
from tasks.schema.image_job import ImageJob
from tests.integration.conftest import House
from tests.support.ledger_access import recent_ids
from tests.support.waiting import wait_until
from worker.media.clip_quality import inspect
from worker.media.clips import probe

pytestmark = pytest.mark.integration

JOBS = 3


def submit(house: House, batch_id: str, **payload: object) -> None:
    """A batch of pictures of one name, from folders of their own."""
    house.ledger.open_batch(batch_id, "Spring / sale", house.ledger.now_ms())
    for number in range(1, JOBS + 1):
        (house.folder / str(number)).mkdir(exist_ok=True)
        image = house.image(f"{number}/Blue mug.png")
        fields = {"image": str(image), "prompt": "a 1-second slow push-in", "data": {"sku": number}}
        job = ImageJob.model_validate({**fields, **payload})
        key = f"{batch_id}:{number}"
        house.ledger.submit(with_key(new_job(job, batch_id=batch_id, row=number), key))
    house.ledger.seal_batch(batch_id)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_clips_have_names_a_table_and_a_verdict(house: House) -> None:
    """Given rows of one picture's name, each has a clip of its own, and a row that judges it."""
    house.open_sandbox()
    house.start_worker()
    submit(house, "0123456789", seconds=1)
    house.settled()
    folder = house.folder / "output" / "Spring-sale-01234567"
    wait_until((folder / "manifest.csv").exists, "the table")
    names = [f"{number}-Blue-mug.mp4" for number in range(1, JOBS + 1)]
    assert sorted(path.name for path in folder.glob("*.mp4")) == names
    rows = table(folder / "manifest.csv")
    assert [Path(row["path"]).name for row in rows] == names
    assert {(row["state"], row["quality"], row["findings"]) for row in rows} == {
        ("succeeded", "ok", "")
    }
    for path in folder.glob("*.mp4"):
        assert probe(path).codec == "h264"
        assert inspect(path) == (), "a camera move is not frozen"


def test_workers_prune_by_themselves(house: House) -> None:
    house.open_sandbox()
    house.start_worker(REELQUEUE_RESULT_DAYS="0.0001")
    submit(house, "batch-0001")
    wait_until(lambda: house.ledger.lookup_keys(["batch-0001:1"])[0], "the first job")
    wait_until(lambda: house.ledger.batch("batch-0001") is None, "the batch to go")
    assert recent_ids(house.ledger, 10) == []
    assert house.ledger.counts()[0] == {}
    assert house.ledger.tombstone("batch-0001:1") is not None
    (folder,) = (house.folder / "output").glob("Spring-sale-*")
    assert len(list(folder.glob("*.mp4"))) == JOBS
    assert [row["sku"] for row in table(folder / "manifest.csv")] == ["1", "2", "3"]
