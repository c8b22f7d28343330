"""Submission of manifests as batches, with a real ledger."""

import pytest

from tasks.manifests.batch_submission import submit_manifest
from tasks.manifests.manifest import open_manifest
from tasks.producer import queries
from tasks.reports.batch_index import write_index_of_ended
from tasks.schema.errors import BatchNameTaken, InvalidPayloadError
from tasks.step.remedy_messages import remedy_message
from tests.support.ledger_access import row_ids
from tests.unit.tasks.conftest import ProducerHarness
from worker.ledger.model.states import Reason, State


def test_a_manifest_is_the_same_batch_again_unless_it_has_another_name(
    harness: ProducerHarness,
) -> None:
    for shade in range(3):
        harness.picture(f"{shade}.png", shade)
    (harness.folder / "text.jpg").write_text("no picture")
    first = submit_manifest(harness.producer, open_manifest(harness.folder), name="spring")
    again = submit_manifest(harness.producer, open_manifest(harness.folder), name="spring")
    other = submit_manifest(harness.producer, open_manifest(harness.folder), name="autumn")
    assert (first.jobs, first.duplicates, [row["row"] for row in first.rejected]) == (3, 0, [4])
    assert (again.batch_id, again.jobs, again.duplicates) == (first.batch_id, 0, 3)
    assert other.jobs == 3
    assert other.batch_id != first.batch_id
    batch = queries.get_batch(harness.producer, first.batch_id)
    assert (batch.name, batch.total, batch.sealed) == ("spring", 3, True)
    images = [result.image for result in queries.list_batch_jobs(harness.producer, first.batch_id)]
    assert images == ["0.png", "1.png", "2.png"]


def test_the_index_of_a_batch_that_ended_before_it_was_sealed_is_written(
    harness: ProducerHarness,
) -> None:
    """Its jobs had ended when its submission was interrupted, so no worker writes the index."""
    rows = ({"image": f"https://example.org/{n}.jpg"} for n in range(2))
    done = submit_manifest(harness.producer, harness.manifest(*rows))
    ledger = harness.producer.ledger
    ledger.cancel_many(row_ids(ledger, done.batch_id))
    ledger.unseal_batch(done.batch_id)
    submit_manifest(harness.producer, harness.manifest({"image": "https://example.org/0.jpg"}))
    assert write_index_of_ended(harness.producer, done.batch_id) == "written"
    assert list((harness.folder / "output").rglob("manifest.csv"))


def test_a_file_with_new_content_is_a_new_job(harness: ProducerHarness) -> None:
    harness.picture("a.png", 1)
    submit_manifest(harness.producer, open_manifest(harness.folder), name="n")
    harness.picture("a.png", 2)
    assert submit_manifest(harness.producer, open_manifest(harness.folder), name="n").jobs == 1


def test_equal_rows_of_a_manifest_are_one_job(harness: ProducerHarness) -> None:
    row = {"image": "https://example.org/a.jpg", "seconds": 5}
    done = submit_manifest(harness.producer, harness.manifest(row, row, {**row, "seconds": 6}))
    assert (done.jobs, done.duplicates) == (2, 1)


def test_a_key_with_another_payload_rejects_the_row(harness: ProducerHarness) -> None:
    one = {"image": "https://example.org/a.jpg", "key": "k"}
    two = {"image": "https://example.org/b.jpg", "key": "k"}
    done = submit_manifest(harness.producer, harness.manifest(one, two))
    assert done.jobs == 1
    assert done.rejected[0]["row"] == 2
    assert "'k'" in done.rejected[0]["reason"]


def test_the_budget_of_a_batch_can_be_changed(harness: ProducerHarness) -> None:
    row = {"image": "https://example.org/a.jpg"}
    for budget in (200, 350):
        done = submit_manifest(harness.producer, harness.manifest(row), max_credits=budget)
    submit_manifest(harness.producer, harness.manifest(row))
    ledger = harness.producer.ledger
    assert ledger.redis.hget(ledger.key("batch", done.batch_id), "max_credits") == "350"


def test_a_large_budget_is_stored_exactly(harness: ProducerHarness) -> None:
    row = {"image": "https://example.org/a.jpg"}
    done = submit_manifest(harness.producer, harness.manifest(row), max_credits=12_345_678)
    batch = harness.producer.ledger.batch(done.batch_id)
    assert batch is not None
    assert batch.max_credits == 12_345_678


@pytest.mark.parametrize("budget", [float("inf"), float("nan"), -1])
def test_an_invalid_budget_is_refused(harness: ProducerHarness, budget: float) -> None:
    """A batch with such a budget could not be read, and all of its jobs would be held."""
    row = {"image": "https://example.org/a.jpg"}
    with pytest.raises(InvalidPayloadError, match="max_credits"):
        submit_manifest(harness.producer, harness.manifest(row), max_credits=budget)
    assert list(queries.list_batches(harness.producer)) == []


def test_an_unreadable_manifest_makes_no_batch(harness: ProducerHarness) -> None:
    path = harness.folder / "jobs.csv"
    path.write_text("sku\nA-1\n")
    with pytest.raises(ValueError, match='column "image"'):
        submit_manifest(harness.producer, open_manifest(path))
    assert list(queries.list_batches(harness.producer)) == []


def test_another_manifest_of_the_same_name_needs_another_name(
    harness: ProducerHarness,
) -> None:
    for folder in ("a", "b"):
        (harness.folder / folder).mkdir()
        text = f"image\nhttps://example.org/{folder}.jpg\n"
        (harness.folder / folder / "jobs.csv").write_text(text)
    submit_manifest(harness.producer, open_manifest(harness.folder / "a" / "jobs.csv"))
    other = harness.folder / "b" / "jobs.csv"
    with pytest.raises(BatchNameTaken, match="--name"):
        submit_manifest(harness.producer, open_manifest(other))
    assert submit_manifest(harness.producer, open_manifest(other), name="b").jobs == 1
    # A manifest with the same rows in another folder is the same batch.
    moved = harness.folder / "jobs.csv"
    moved.write_text((harness.folder / "a" / "jobs.csv").read_text())
    assert submit_manifest(harness.producer, open_manifest(moved)).duplicates == 1


def test_a_raised_budget_releases_the_jobs_that_it_pays_for(harness: ProducerHarness) -> None:
    urls = [{"image": f"https://example.org/{n}.jpg"} for n in range(3)]
    batch_id = submit_manifest(harness.producer, harness.manifest(*urls), max_credits=50).batch_id
    for result in list(queries.list_batch_jobs(harness.producer, batch_id)):
        harness.finish_step(result.job_id, State.HELD, reason=Reason.BUDGET, resume=State.PREPARING)
    assert queries.get_batch(harness.producer, batch_id).held_by == {Reason.BUDGET: 3}
    submit_manifest(harness.producer, harness.manifest(*urls), max_credits=250)
    batch = queries.get_batch(harness.producer, batch_id)
    assert (batch.held, batch.queued) == (1, 2)
    ids = row_ids(harness.producer.ledger, batch_id)
    held = next(job for job in harness.producer.ledger.jobs(ids) if job.reason)
    remedy = remedy_message(Reason.BUDGET, held, harness.producer.settings)
    assert f"`reelqueue release {batch_id} --max-credits CREDITS`" in remedy
