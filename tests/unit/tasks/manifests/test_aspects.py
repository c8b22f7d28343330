"""Batches in several aspects: a job for each row and aspect, each paid once, with a real ledger."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.manifests.batch_submission import BatchSubmission, submit_batch, submit_manifest
from tasks.manifests.dry_runs.dry_run import dry_run_batch
from tasks.manifests.manifest import Manifest, open_manifest
from tasks.manifests.rows import rows_of_jobs
from tasks.producer import queries
from tasks.schema.batch import batch_id_for
from tasks.schema.batch_options.aspects import read_aspects
from tasks.schema.errors import InvalidPayloadError
from tasks.schema.image_job import Aspect
from tests.unit.tasks.conftest import ProducerHarness, RunCommand
from worker.ledger.model.states import State

Fields = Mapping[str, object]
WIDE: tuple[Aspect, ...] = ("16:9",)
ALL: tuple[Aspect, ...] = ("16:9", "9:16", "1:1")
KEYED: Fields = {"image": "https://example.org/a.jpg", "key": "k"}
KEYLESS: Fields = {"image": "https://example.org/a.jpg"}


def manifest(harness: ProducerHarness, *rows: Fields, aspects: tuple[Aspect, ...] = ()) -> Manifest:
    return Manifest("spring", harness.folder, rows_of_jobs(rows), "/jobs.csv", aspects)


def submit(
    harness: ProducerHarness,
    *rows: Fields,
    aspects: tuple[Aspect, ...] = (),
    name: str = "spring",
) -> BatchSubmission:
    return submit_manifest(harness.producer, manifest(harness, *rows, aspects=aspects), name=name)


def counts(done: BatchSubmission) -> tuple[int, int, int]:
    return done.jobs, done.duplicates, len(done.rejected)


def made(harness: ProducerHarness, name: str = "spring") -> list[tuple[str, str]]:
    """The key and the aspect of each job of a batch."""
    ledger = harness.producer.ledger
    found = queries.list_batch_jobs(harness.producer, batch_id_for(name))
    jobs = ledger.jobs([result.job_id for result in found])
    return sorted((job.payload.get("key", ""), job.payload.get("aspect", "")) for job in jobs)


@pytest.mark.parametrize("row", [KEYED, KEYLESS])
def test_an_aspect_that_is_added_later_is_made_alone(harness: ProducerHarness, row: Fields) -> None:
    first = submit(harness, row, aspects=WIDE)
    plan = dry_run_batch(harness.producer, manifest(harness, row, aspects=ALL))
    more = submit(harness, row, aspects=ALL)
    again = submit(harness, row, aspects=ALL)
    assert (plan.rows, plan.good, plan.jobs, plan.duplicates, plan.credits) == (1, 1, 2, 1, 200)
    assert [counts(done) for done in (first, more, again)] == [(1, 0, 0), (2, 1, 0), (0, 3, 0)]
    keys = {aspect: f"k:{aspect}" if "key" in row else "" for aspect in ALL}
    assert made(harness) == sorted((keys[aspect], aspect) for aspect in ALL)


@pytest.mark.parametrize("later", ["spring", "autumn"])
def test_the_job_of_the_plain_key_is_the_known_one_if_it_asks_for_the_same(
    harness: ProducerHarness, later: str
) -> None:
    """Its row named the aspect before; it may have been in another batch."""
    submit(harness, {**KEYED, "aspect": "9:16"})
    assert counts(submit(harness, KEYED, aspects=ALL, name=later)) == (2, 1, 0)
    assert counts(submit(harness, KEYED, aspects=ALL, name=later)) == (0, 3, 0)
    assert counts(submit(harness, {**KEYED, "aspect": "9:16"})) == (0, 1, 0)


def test_a_single_job_of_the_plain_key_is_known(harness: ProducerHarness) -> None:
    harness.submit(image=KEYED["image"], key="k", aspect="1:1")
    assert counts(submit(harness, KEYED, aspects=ALL)) == (2, 1, 0)


@pytest.mark.parametrize("row", [KEYED, KEYLESS])
def test_a_job_of_another_aspect_stays_and_is_not_the_known_one(
    harness: ProducerHarness, row: Fields
) -> None:
    submit(harness, row)
    done = submit(harness, row, aspects=WIDE)
    assert (counts(done), done.changed) == ((1, 0, 0), 0)
    assert len(made(harness)) == 2


def test_a_pruned_job_of_the_plain_key_is_known(harness: ProducerHarness) -> None:
    done = submit(harness, {**KEYED, "aspect": "9:16"})
    (job,) = queries.list_batch_jobs(harness.producer, done.batch_id)
    harness.finish_step(job.job_id, State.SUCCEEDED)
    ledger = harness.producer.ledger
    ledger.redis.delete("outbox:{rq}")
    assert ledger.scripts.run("prune", 10**15, 0, job.job_id) == ["PRUNED"]
    assert counts(submit(harness, KEYED, aspects=ALL)) == (2, 1, 0)


def test_a_row_with_an_aspect_of_its_own_keeps_its_key_and_makes_one_job(
    harness: ProducerHarness,
) -> None:
    own: Fields = {"image": "https://example.org/b.jpg", "key": "own", "aspect": "1:1"}
    assert counts(submit(harness, KEYED, own, aspects=("16:9", "9:16"))) == (3, 0, 0)
    assert made(harness) == [("k:16:9", "16:9"), ("k:9:16", "9:16"), ("own", "1:1")]


def test_a_changed_prompt_replaces_the_job_of_each_aspect(harness: ProducerHarness) -> None:
    submit(harness, {**KEYLESS, "prompt": "pan left"}, aspects=ALL)
    done = submit(harness, {**KEYLESS, "prompt": "pan right"}, aspects=ALL)
    assert counts(done) == (3, 0, 0)
    batch = queries.get_batch(harness.producer, done.batch_id)
    assert (batch.total, batch.queued) == (3, 3)


def test_a_bad_row_is_rejected_once(harness: ProducerHarness, tmp_path: Path) -> None:
    long_key = {**KEYED, "key": "k" * 199}
    (tmp_path / "small.png").write_bytes(b"")
    rows: tuple[Fields, ...] = ({"image": "small.png"}, long_key, {"image": ""}, KEYED)
    plan = dry_run_batch(harness.producer, manifest(harness, *rows, aspects=ALL))
    done = submit(harness, *rows, aspects=ALL)
    assert counts(done) == (3, 0, 3)
    assert "at most 195 characters" in done.rejected[1]["reason"]
    assert (plan.rows, plan.good, plan.jobs) == (4, 1, 3)
    assert [row["row"] for row in plan.rejected] == [row["row"] for row in done.rejected]


def test_a_page_of_rows_in_three_aspects_is_one_run_of_the_script(harness: ProducerHarness) -> None:
    urls: list[Fields] = [{"image": f"https://example.org/{number}.jpg"} for number in range(400)]
    pages = list(manifest(harness, *urls, aspects=ALL).pages())
    assert [len(page) for page in pages] == [166, 166, 68]
    done = submit(harness, *urls, aspects=ALL)
    assert counts(done) == (1200, 0, 0)


def test_the_aspects_are_an_option_of_the_command_and_of_python(
    harness: ProducerHarness, run_command: RunCommand
) -> None:
    harness.picture("in/a.png")
    command = ("batch", "submit", "in", "--name", "spring", "--aspect", "16:9, 1:1")
    plan = " ".join(run_command(*command, "--dry-run").out.split())
    assert "rows 1: 1 good" in plan
    assert "made in 2: 16:9, 1:1" in plan
    assert "new jobs 2 credits about 200 needed" in plan
    assert run_command(*command, "--json").records[0]["jobs"] == 2
    rows = [{"image": str(harness.folder / "in" / "a.png")}]
    done = submit_batch(harness.producer, rows, name="spring", aspects=["1:1", "9:16"])
    assert counts(done) == (1, 1, 0)
    wrong = run_command("batch", "submit", "in", "--aspect", "16:9,4:3")
    assert (wrong.code, "one or more of 16:9, 9:16, 1:1" in wrong.err, "'4:3'" in wrong.err) == (
        2,
        True,
        True,
    )


@pytest.mark.parametrize("names", [[], [""], ["4:3"], ["16:9", ""]])
def test_other_aspects_are_refused(names: list[str]) -> None:
    with pytest.raises(InvalidPayloadError):
        read_aspects(names)


def test_an_opened_manifest_takes_the_aspects(harness: ProducerHarness) -> None:
    harness.picture("in/a.png")
    opened = replace(open_manifest(harness.folder / "in"), aspects=read_aspects(["1:1", "1:1"]))
    assert submit_manifest(harness.producer, opened).jobs == 1
