"""Enqueue, follow and steer jobs and batches, against a real ledger."""

import os
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr

from config.settings import RedisSettings, Settings
from tasks.manifests.batch_submission import SessionMode, submit_manifest
from tasks.manifests.dry_run import dry_run_batch
from tasks.manifests.manifest import Manifest, open_manifest, rows_of_jobs
from tasks.producer import actions, queries, submissions
from tasks.producer.local_files import LocalFiles
from tasks.producer.producer import Producer
from tasks.producer.submissions import new_job, with_key
from tasks.schema.errors import (
    BatchNameTaken,
    InvalidPayloadError,
    KeyConflict,
    RedisUnavailable,
    UnknownId,
)
from tasks.schema.image_job import ImageJob, job_id_for
from tasks.schema.media_keys import media_key
from tasks.step.remedy_messages import remedy_message
from tests.support.ledger_access import recent_ids, row_ids, submit_many
from tests.support.waiting import free_port
from tests.unit.tasks.conftest import ProducerHarness
from worker.ledger.ledger import Commit
from worker.ledger.model.states import Reason, State
from worker.ledger.payments import Payments
from worker.media.prepared_file import sha256_of


def test_a_key_is_one_job_for_ever(harness: ProducerHarness) -> None:
    payload = {"image": "https://example.org/a.jpg", "key": "order 7"}
    first, again = (
        submissions.submit(harness.producer, payload),
        submissions.submit(harness.producer, payload),
    )
    assert first.as_dict() == {
        "job_id": job_id_for("order 7"),
        "state": "queued",
        "duplicate": False,
    }
    assert (again.job_id, again.duplicate) == (first.job_id, True)
    with pytest.raises(KeyConflict, match="order 7"):
        submissions.submit(harness.producer, {**payload, "prompt": "Another"})


def test_a_duplicate_tells_where_the_job_stands(harness: ProducerHarness) -> None:
    job_id = harness.submit(key="k")
    harness.end(job_id, State.FAILED, reason=Reason.BAD_IMAGE, message="Bad.")
    assert (
        submissions.submit(
            harness.producer, {"image": "https://example.org/a.jpg", "key": "k"}
        ).state
        == "failed"
    )


def test_a_local_file_becomes_a_content_of_the_media_store(harness: ProducerHarness) -> None:
    path = harness.picture("My Photo.PNG")
    job = harness.producer.ledger.job(harness.submit(image=str(path), attach=[str(path)]))
    assert job is not None
    key = media_key(sha256_of(path), path.name)
    assert (job.payload["media"], job.payload["attach"]) == (key, [key])
    assert job.payload["image"] == str(path)
    kept = harness.producer.media.local_path(key)
    assert kept is not None
    assert kept.read_bytes() == path.read_bytes()


def test_enqueue_reads_no_file(harness: ProducerHarness) -> None:
    submission = submissions.enqueue(harness.producer, ImageJob.read({"image": "/nowhere/a.jpg"}))
    job = harness.producer.ledger.job(submission.job_id)
    assert job is not None
    assert "media" not in job.payload


def test_a_webhook_that_nobody_could_sign_is_refused(harness: ProducerHarness) -> None:
    payload = {"image": "https://example.org/a.jpg", "webhook": "https://example.org/told"}
    with pytest.raises(InvalidPayloadError, match="REELQUEUE_WEBHOOK_SECRET"):
        submissions.submit(harness.producer, payload)
    with pytest.raises(InvalidPayloadError, match="REELQUEUE_WEBHOOK_SECRET"):
        submissions.enqueue(harness.producer, ImageJob.read(payload))
    assert harness.producer.ledger.counts()[0] == {}


def test_files_that_cannot_be_used_are_all_named(
    harness: ProducerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(harness.folder)
    (harness.folder / "empty.jpg").touch()
    (harness.folder / "text.jpg").write_text("no picture")
    (harness.folder / "folder.jpg").mkdir()
    with (harness.folder / "huge.jpg").open("wb") as file:
        file.truncate(201 * 10**6)
    names = ("empty.jpg", "text.jpg", "folder.jpg", "huge.jpg", "gone.jpg")
    for name in names:
        with pytest.raises(InvalidPayloadError, match=name):
            submissions.submit(harness.producer, {"image": name})
    with pytest.raises(InvalidPayloadError) as refused:
        submissions.submit(harness.producer, {"image": "gone.jpg", "attach": ["text.jpg"]})
    assert [problem.split(":")[0] for problem in refused.value.problems] == ["image", "attach"]
    assert recent_ids(harness.producer.ledger, 10) == []


def test_waiting_ends_when_a_job_is_held(harness: ProducerHarness) -> None:
    job_id = harness.submit()
    with pytest.raises(TimeoutError, match="still queued"):
        queries.wait(harness.producer, job_id, timeout=0)
    end = threading.Thread(
        target=harness.end, args=(job_id, State.HELD), kwargs={"reason": Reason.CREDITS}
    )
    end.start()
    assert queries.wait(harness.producer, job_id, timeout=30).state is State.HELD
    end.join()


def test_no_redis_says_what_to_do_and_shows_no_password(settings: Settings) -> None:
    url = SecretStr(f"redis://:hush@127.0.0.1:{free_port()}/0")
    producer = Producer.open(settings.model_copy(update={"redis": RedisSettings(url=url)}))
    with pytest.raises(RedisUnavailable, match="reelqueue valkey") as raised:
        submissions.submit(producer, {"image": "https://example.org/a.jpg"})
    assert "hush" not in str(raised.value)


def test_unknown_ids(harness: ProducerHarness) -> None:
    for operation in (
        *(queries.get, queries.get_batch, actions.cancel),
        *(actions.retry, actions.release, actions.pause, actions.resume),
    ):
        with pytest.raises(UnknownId, match="nope"):
            operation(harness.producer, "nope")


def manifest(
    harness: ProducerHarness, *given: Mapping[str, object], name: str = "spring"
) -> Manifest:
    return Manifest(name, harness.folder, rows_of_jobs(given))


def test_the_same_manifest_again_is_known_and_another_name_is_new(harness: ProducerHarness) -> None:
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


def test_a_batch_that_ended_before_it_was_sealed_leaves_its_table(harness: ProducerHarness) -> None:
    """Its jobs had all ended when its submission died; nobody else writes the table then."""
    rows = ({"image": f"https://example.org/{n}.jpg"} for n in range(2))
    manifest_ = manifest(harness, *rows)
    done = submit_manifest(harness.producer, manifest_)
    ledger = harness.producer.ledger
    ledger.cancel_many(row_ids(ledger, done.batch_id))
    ledger.unseal_batch(done.batch_id)
    submit_manifest(harness.producer, manifest(harness, {"image": "https://example.org/0.jpg"}))
    assert list((harness.folder / "output").rglob("manifest.csv"))


def test_a_picture_that_changed_under_its_name_is_a_new_job(harness: ProducerHarness) -> None:
    harness.picture("a.png", 1)
    submit_manifest(harness.producer, open_manifest(harness.folder), name="n")
    harness.picture("a.png", 2)
    assert submit_manifest(harness.producer, open_manifest(harness.folder), name="n").jobs == 1


def test_equal_rows_of_a_manifest_are_one_job(harness: ProducerHarness) -> None:
    row = {"image": "https://example.org/a.jpg", "seconds": 5}
    done = submit_manifest(harness.producer, manifest(harness, row, row, {**row, "seconds": 6}))
    assert (done.jobs, done.duplicates) == (2, 1)


def test_a_key_with_another_payload_rejects_the_row(harness: ProducerHarness) -> None:
    one = {"image": "https://example.org/a.jpg", "key": "k"}
    two = {"image": "https://example.org/b.jpg", "key": "k"}
    done = submit_manifest(harness.producer, manifest(harness, one, two))
    assert done.jobs == 1
    assert done.rejected[0]["row"] == 2
    assert "'k'" in done.rejected[0]["reason"]


def test_the_budget_of_a_batch_is_kept_and_can_be_raised(harness: ProducerHarness) -> None:
    row = {"image": "https://example.org/a.jpg"}
    for budget in (200, 350):
        done = submit_manifest(harness.producer, manifest(harness, row), max_credits=budget)
    submit_manifest(harness.producer, manifest(harness, row))
    ledger = harness.producer.ledger
    assert ledger.redis.hget(ledger.key("batch", done.batch_id), "max_credits") == "350"


def test_the_budget_of_a_batch_is_kept_to_the_credit(harness: ProducerHarness) -> None:
    row = {"image": "https://example.org/a.jpg"}
    done = submit_manifest(harness.producer, manifest(harness, row), max_credits=12_345_678)
    batch = harness.producer.ledger.batch(done.batch_id)
    assert batch is not None
    assert batch.max_credits == 12_345_678


@pytest.mark.parametrize("budget", [float("inf"), float("nan"), -1])
def test_a_budget_that_is_no_number_of_credits_is_refused(
    harness: ProducerHarness, budget: float
) -> None:
    """A batch that had one could not be read, and its jobs would all be held."""
    row = {"image": "https://example.org/a.jpg"}
    with pytest.raises(InvalidPayloadError, match="max_credits"):
        submit_manifest(harness.producer, manifest(harness, row), max_credits=budget)
    assert list(queries.list_batches(harness.producer)) == []


def test_estimates_follow_what_clips_were_seen_to_cost(harness: ProducerHarness) -> None:
    assert harness.producer.clip_price() == 100
    urls = [{"image": f"https://example.org/{n}.jpg"} for n in range(3)]
    batch_id = submit_manifest(harness.producer, manifest(harness, *urls)).batch_id
    first = next(queries.list_batch_jobs(harness.producer, batch_id)).job_id
    ledger, payments = harness.producer.ledger, Payments(harness.producer.ledger)
    fence = harness.take(first)
    ledger.update_facts(first, fence, {"account": "a"})
    payments.record_balance("a", read_at=1, available=1000, frozen=0, total=1000)
    call = f"{first}:1:1"
    assert payments.begin(first, fence, turn=1, call=call, cost=100, cap=9).verdict == "OK"
    ledger.commit(first, fence, Commit(State.GENERATING))
    now = ledger.now_ms()
    payments.record_balance("a", read_at=now, available=850, frozen=0, total=850)
    assert harness.producer.clip_price() == 150
    batch = queries.get_batch(harness.producer, batch_id)
    assert (batch.credits_reserved, batch.credits_spent) == (100, 0), "no more than was committed"
    new = {"image": "https://example.org/new.jpg"}
    assert dry_run_batch(harness.producer, manifest(harness, *urls, new)).credits == 150


def test_a_shared_session_takes_its_rows_one_after_another(harness: ProducerHarness) -> None:
    urls = [{"image": f"https://example.org/{n}.jpg"} for n in range(10)]
    own = dry_run_batch(harness.producer, manifest(harness, *urls)).seconds
    shared = dry_run_batch(
        harness.producer, manifest(harness, *urls), session=SessionMode.SHARED
    ).seconds
    assert shared > 5 * own


def test_a_manifest_that_cannot_be_read_makes_no_batch(harness: ProducerHarness) -> None:
    path = harness.folder / "jobs.csv"
    path.write_text("picture\na.jpg\n")
    with pytest.raises(ValueError, match="column «image»"):
        submit_manifest(harness.producer, open_manifest(path))
    assert list(queries.list_batches(harness.producer)) == []


def test_a_trial_counts_and_changes_nothing(harness: ProducerHarness) -> None:
    harness.picture("a.png")
    harness.picture("b.png")
    given: list[Mapping[str, object]] = [
        *({"image": "a.png"}, {"image": "a.png"}, {"image": "b.png"}),
        {"image": "gone.png"},
    ]
    dry_run = dry_run_batch(harness.producer, manifest(harness, *given))
    assert (dry_run.rows, dry_run.good, dry_run.duplicates, len(dry_run.rejected)) == (4, 3, 1, 1)
    assert dry_run.credits == 200
    assert dry_run.seconds > 0
    assert any("high contrast" in text for text in dry_run.suggestions), "pictures of one colour"
    assert list(queries.list_batches(harness.producer)) == []
    assert not list((harness.folder / "media").rglob("*.png"))
    submit_manifest(harness.producer, manifest(harness, *given))
    after = dry_run_batch(harness.producer, manifest(harness, *given))
    assert (after.duplicates, after.credits) == (3, 0)


def test_retry_of_a_batch_takes_the_failed_ones(harness: ProducerHarness) -> None:
    urls = [{"image": f"https://example.org/{n}.jpg"} for n in range(3)]
    batch_id = submit_manifest(harness.producer, manifest(harness, *urls)).batch_id
    first, second, _ = (
        result.job_id for result in queries.list_batch_jobs(harness.producer, batch_id)
    )
    for job_id in (first, second):
        harness.end(job_id, State.FAILED, reason=Reason.RENDER_FAILED, message="No.")
    change = actions.retry(harness.producer, batch_id)
    assert change.as_dict() == {"id": batch_id, "changed": 2, "skipped": {}}
    assert queries.get_batch(harness.producer, batch_id).failed == 0


def test_an_unknown_outcome_goes_on_by_a_choice_only(harness: ProducerHarness) -> None:
    job_id = harness.submit()
    harness.pay(job_id)
    ledger = harness.producer.ledger
    job = ledger.job(job_id)
    assert job is not None
    ledger.scripts.run(
        *("commit", job_id, job.fence, "n", "held", 0, "outcome_unknown", "settling", "")
    )
    assert actions.release(harness.producer, job_id).skipped == {"needs_choice": 1}
    assert actions.release_reason(harness.producer, Reason.OUTCOME_UNKNOWN).skipped == {
        "needs_choice": 1
    }
    assert actions.release(harness.producer, job_id, mode="as_done", who="me").changed == 1
    assert queries.get(harness.producer, job_id).state is State.SETTLING


def test_cancelling_a_batch_ends_what_waits(harness: ProducerHarness) -> None:
    urls = [{"image": f"https://example.org/{n}.jpg"} for n in range(2)]
    batch_id = submit_manifest(harness.producer, manifest(harness, *urls)).batch_id
    assert actions.cancel(harness.producer, batch_id).changed == 2
    assert actions.cancel(harness.producer, batch_id).changed == 0
    assert queries.get_batch(harness.producer, batch_id).cancelled == 2


def test_more_jobs_than_a_page_are_listed_once_each_and_in_order(harness: ProducerHarness) -> None:
    ledger = harness.producer.ledger
    ledger.open_batch("b", "spring", 1)
    job = ImageJob(image="https://example.org/a.jpg")
    submit_many(
        ledger,
        (
            with_key(new_job(job, batch_id="b", row=number), f"k-{number}")
            for number in range(1, 1251)
        ),
    )
    assert [result.row for result in queries.list_batch_jobs(harness.producer, "b")] == list(
        range(1, 1251)
    )
    found = []
    for number, result in enumerate(queries.list_jobs(harness.producer)):
        found.append(result.job_id)
        if number % 400 == 0:
            harness.submit(key=f"late-{number}")
    assert len(found) == len(set(found)) == 1250


def test_two_manifests_of_one_name_are_two_batches(harness: ProducerHarness) -> None:
    for folder in ("a", "b"):
        (harness.folder / folder).mkdir()
        text = f"image\nhttps://example.org/{folder}.jpg\n"
        (harness.folder / folder / "jobs.csv").write_text(text)
    submit_manifest(harness.producer, open_manifest(harness.folder / "a" / "jobs.csv"))
    other = harness.folder / "b" / "jobs.csv"
    with pytest.raises(BatchNameTaken, match="--name"):
        submit_manifest(harness.producer, open_manifest(other))
    assert submit_manifest(harness.producer, open_manifest(other), name="b").jobs == 1
    # The same rows elsewhere are the same manifest.
    moved = harness.folder / "jobs.csv"
    moved.write_text((harness.folder / "a" / "jobs.csv").read_text())
    assert submit_manifest(harness.producer, open_manifest(moved)).duplicates == 1


def test_a_raised_budget_lets_go_on_what_it_pays(harness: ProducerHarness) -> None:
    urls = [{"image": f"https://example.org/{n}.jpg"} for n in range(3)]
    batch_id = submit_manifest(harness.producer, manifest(harness, *urls), max_credits=50).batch_id
    for result in list(queries.list_batch_jobs(harness.producer, batch_id)):
        harness.end(result.job_id, State.HELD, reason=Reason.BUDGET, resume=State.PREPARING)
    assert queries.get_batch(harness.producer, batch_id).held_by == {Reason.BUDGET: 3}
    submit_manifest(harness.producer, manifest(harness, *urls), max_credits=250)
    batch = queries.get_batch(harness.producer, batch_id)
    assert (batch.held, batch.queued) == (1, 2)
    ids = row_ids(harness.producer.ledger, batch_id)
    held = next(job for job in harness.producer.ledger.jobs(ids) if job.reason)
    told = remedy_message(Reason.BUDGET, held, harness.producer.settings)
    assert "--max-credits" in told
    assert "release" not in told, "it goes on by itself"


def test_a_picture_that_does_not_change_is_read_once(harness: ProducerHarness) -> None:
    path = harness.picture()
    kept = []

    def keep(path: Path, name: str) -> str:
        kept.append(name)
        return media_key(sha256_of(path), name)

    contents = LocalFiles(keep, harness.folder)
    job = ImageJob.read({"image": "photo.png"})
    first = [contents.replace_in(job).media for _ in range(3)]
    assert (len(set(first)), kept) == (1, ["photo.png"])
    harness.picture(shade=1)
    os.utime(path, ns=(1, 1))
    assert contents.replace_in(job).media != first[0]


def test_of_many_jobs_each_content_is_kept_once_and_none_of_a_refused_one(
    harness: ProducerHarness,
) -> None:
    names = [harness.picture(f"{shade}.png", shade).name for shade in range(40)]
    (harness.folder / "text.png").write_text("no picture")
    kept = []

    def keep(path: Path, name: str) -> str:
        kept.append(name)
        return media_key(sha256_of(path), name)

    jobs = [ImageJob.read({"image": name}) for name in names * 2]
    refused = ImageJob.read({"image": harness.picture("own.png", 50).name, "attach": ["text.png"]})
    *good, bad = LocalFiles(keep, harness.folder).replace_in_all([*jobs, refused])
    assert sorted(kept) == sorted(names)
    assert isinstance(bad, InvalidPayloadError)
    keys = [media_key(sha256_of(harness.folder / name), name) for name in names * 2]
    assert [job.media for job in good if isinstance(job, ImageJob)] == keys


def test_files_are_remembered_up_to_a_number_and_then_read_again(harness: ProducerHarness) -> None:
    jobs = [ImageJob.read({"image": harness.picture(f"{n}.png", n).name}) for n in range(4)]
    read: list[str] = []

    def keep(path: Path, name: str) -> str:
        read.append(name)
        return media_key(sha256_of(path), name)

    contents = LocalFiles(keep, harness.folder, cache_size=3)
    first = contents.replace_in_all(jobs)
    assert contents.replace_in_all(jobs[:1]) == first[:1]
    assert contents.replace_in_all(jobs[:1]) == first[:1]
    assert read.count("0.png") == 2


def test_a_trial_opens_every_picture(harness: ProducerHarness) -> None:
    whole = harness.picture("whole.png").read_bytes()
    (harness.folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    dry_run = dry_run_batch(
        harness.producer, manifest(harness, {"image": "whole.png"}, {"image": "cut.png"})
    )
    assert (dry_run.good, [row["row"] for row in dry_run.rejected]) == (1, [2])
    assert "damaged" in dry_run.rejected[0]["reason"]
