"""Rows that are submitted again: known, changed and new, with a real ledger."""

from collections.abc import Mapping
from itertools import count

import pytest

from tasks.manifests.batch_submission import BatchSubmission, submit_manifest
from tasks.manifests.dry_runs.dry_run import DryRun, dry_run_batch
from tasks.manifests.manifest import Manifest
from tasks.manifests.rows import rows_of_jobs
from tasks.producer import actions, queries
from tasks.producer.redo import redo
from tasks.reports.batch_index import write_index_of_ended
from tasks.schema.batch import batch_id_for
from tasks.schema.result import Result
from tests.support.ledger_access import row_ids
from tests.unit.tasks.conftest import ProducerHarness
from worker.ledger.model.states import Reason, State
from worker.ledger.model.submissions import NewJob

BATCH = batch_id_for("spring")
SITE = "https://example.org"
Fields = Mapping[str, object]


def row(name: str, prompt: str = "pan left", **fields: object) -> Fields:
    return {"image": f"{SITE}/{name}.jpg", "prompt": prompt, **fields}


def manifest(harness: ProducerHarness, *rows: Fields, source: str = "/jobs.csv") -> Manifest:
    return Manifest("spring", harness.folder, rows_of_jobs(rows), source=source)


def submit(
    harness: ProducerHarness, *rows: Fields, source: str = "/jobs.csv", redo_changed: bool = False
) -> BatchSubmission:
    return submit_manifest(
        harness.producer,
        manifest(harness, *rows, source=source),
        name="spring",
        redo_changed=redo_changed,
    )


def counts(done: BatchSubmission | DryRun) -> tuple[int, int, int]:
    """The numbers of new jobs, of known rows and of changed rows with a clip."""
    jobs = done.jobs if isinstance(done, BatchSubmission) else int(done.credits) // 100
    return jobs, done.duplicates, done.changed


def plan(harness: ProducerHarness, *rows: Fields, redo_changed: bool = False) -> DryRun:
    return dry_run_batch(harness.producer, manifest(harness, *rows), redo_changed=redo_changed)


def lines(harness: ProducerHarness) -> list[Result]:
    return list(queries.list_batch_jobs(harness.producer, BATCH))


def job_of(harness: ProducerHarness, prompt: str) -> Result:
    (found,) = [result for result in lines(harness) if result.prompt == prompt]
    return found


def end(harness: ProducerHarness, job_id: str, how: str) -> None:
    """Bring a queued job to an end, or to a payment."""
    match how:
        case "failed":
            harness.finish_step(job_id, State.FAILED, reason=Reason.BAD_IMAGE)
        case "cancelled":
            actions.cancel(harness.producer, job_id)
        case "held":
            harness.finish_step(job_id, State.HELD, reason=Reason.CREDITS, resume=State.PREPARING)
        case "succeeded":
            harness.finish_step(job_id, State.SUCCEEDED)
        case "paid":
            harness.begin_payment(job_id)
        case "owned":
            harness.claim(job_id)


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("state", ["queued", "held", "failed", "cancelled"])
def test_a_changed_row_gets_a_new_job_in_the_place_of_one_without_a_clip(
    harness: ProducerHarness, state: str, keyed: bool
) -> None:
    key = {"key": "k"} if keyed else {}
    submit(harness, row("a", **key), row("b"))
    old = lines(harness)[0]
    end(harness, old.job_id, state)
    changed = (row("a", "pan right", **key), row("b"))
    assert counts(plan(harness, *changed)) == (1, 1, 0)
    assert counts(submit(harness, *changed)) == (1, 1, 0)
    assert counts(submit(harness, *changed)) == (0, 2, 0), "it is known now"
    batch = queries.get_batch(harness.producer, BATCH)
    assert (batch.total, batch.open, batch.failed, batch.held, batch.cancelled) == (2, 2, 0, 0, 0)
    assert batch.held_by == {}
    new = job_of(harness, "pan right")
    before = queries.get(harness.producer, old.job_id)
    assert (before.replaced_by, before.state.is_end) == (new.job_id, True)
    assert new.replaced_by is None
    assert [result.row for result in lines(harness)] == [1, 2]
    assert actions.retry(harness.producer, BATCH).changed == 0
    ledger = harness.producer.ledger
    waiting = ledger.redis.lrange(ledger.key("flow", f"{BATCH}:normal"), 0, -1)
    assert (waiting.count(new.job_id), waiting.count(old.job_id)) == (1, 0)


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("state", ["succeeded", "paid"])
def test_a_changed_row_whose_job_has_paid_is_made_again_only_on_request(
    harness: ProducerHarness, state: str, keyed: bool
) -> None:
    key = {"key": "k"} if keyed else {}
    submit(harness, row("a", **key))
    (old,) = lines(harness)
    end(harness, old.job_id, state)
    changed = row("a", "pan right", **key)
    for _ in range(2):
        assert counts(plan(harness, changed)) == (0, 0, 1)
        kept = submit(harness, changed)
        assert counts(kept) == (0, 0, 1)
        assert kept.changed_rows == [{"row": 1, "image": f"{SITE}/a.jpg", "job_id": old.job_id}]
    assert counts(plan(harness, changed, redo_changed=True)) == (1, 0, 1)
    assert counts(submit(harness, changed, redo_changed=True)) == (1, 0, 1)
    assert counts(submit(harness, changed, redo_changed=True)) == (0, 1, 0)
    (new,) = lines(harness)
    assert (new.prompt, new.state) == ("pan right", State.QUEUED)
    before = queries.get(harness.producer, old.job_id)
    assert before.replaced_by == new.job_id
    assert not before.cancel_requested, "what is paid continues to its clip"
    batch = queries.get_batch(harness.producer, BATCH)
    assert (batch.total, batch.queued) == (1, 1)
    assert batch.credits_spent + batch.credits_reserved == (100 if state == "paid" else 0)


def test_a_job_that_a_worker_is_at_cannot_pay_any_more_when_its_row_was_changed(
    harness: ProducerHarness,
) -> None:
    submit(harness, row("a"))
    (old,) = lines(harness)
    fence = harness.claim(old.job_id)
    ledger = harness.producer.ledger
    ledger.update_facts(old.job_id, fence, {"account": "a"})
    ledger.scripts.run("balance", "a", 1, 1000, 0, 1000)
    assert counts(submit(harness, row("a", "pan right"))) == (1, 0, 0)
    begun = ledger.scripts.run("begin_paid", old.job_id, fence, 1, "call", 100, 31_000, 10)
    assert begun == ["CANCELLED"]
    batch = queries.get_batch(harness.producer, BATCH)
    assert (batch.total, batch.queued, batch.running) == (1, 1, 0)


def test_a_key_and_a_content_find_each_other(harness: ProducerHarness) -> None:
    """A key column is added, and dropped again."""
    submit(harness, row("a"), row("b", key="kb"))
    assert counts(submit(harness, row("a", key="ka"), row("b"))) == (0, 2, 0)
    changed = (row("a", "pan right", key="ka"), row("b", "zoom", key="kb"))
    assert counts(submit(harness, *changed)) == (2, 0, 0)
    assert [result.prompt for result in lines(harness)] == ["pan right", "zoom"]


def test_other_columns_priority_and_webhook_are_taken_over(harness: ProducerHarness) -> None:
    harness.picture("a.png")
    harness.picture("moved/b.png")
    submit(harness, {"image": "a.png", "sku": "A-1"})
    submit(harness, {"image": "moved/b.png", "sku": "B-2", "priority": "high"}, source="/other.csv")
    (found,) = lines(harness)
    assert (found.image, found.data, found.priority) == ("moved/b.png", {"sku": "B-2"}, "high")
    ledger = harness.producer.ledger
    assert {flow for flow, waiting in ledger.flows().items() if waiting} == {f"{BATCH}:high"}
    assert [job_id for job_id, _ in ledger.due(9, room=9, admit=9)] == [found.job_id]


def test_a_signed_address_is_known_by_what_it_names(harness: ProducerHarness) -> None:
    signed = [
        {"image": f"{SITE}/a.jpg?size=2&X-Amz-Signature={n}&X-Amz-Date=1#top{n}"} for n in (1, 2)
    ]
    submit(harness, signed[0])
    assert counts(submit(harness, signed[1])) == (0, 1, 0)
    assert [result.image for result in lines(harness)] == [signed[1]["image"]], "the newer one"
    assert counts(submit(harness, {"image": f"{SITE}/a.jpg?size=3"}, source="/o.csv")) == (1, 0, 0)


def test_equal_rows_share_a_job_and_have_lines_of_their_own(harness: ProducerHarness) -> None:
    rows = (row("a", sku="1"), row("b", sku="2"), row("a", sku="3"), row("a", sku="4", key="k"))
    assert counts(plan(harness, *rows)) == (2, 2, 0)
    for expected in ((2, 2, 0), (0, 4, 0)):
        assert counts(submit(harness, *rows)) == expected
        assert [(found.row, found.data["sku"]) for found in lines(harness)] == [
            *((1, "1"), (2, "2"), (3, "3"), (4, "4")),
        ]
    assert len({found.job_id for found in lines(harness)}) == 2
    assert queries.get_batch(harness.producer, BATCH).total == 2
    assert sum(map(len, harness.producer.ledger.row_states(BATCH))) == 2
    # Rows in another order are the same rows.
    assert counts(submit(harness, *rows[::-1])) == (0, 4, 0)
    assert [found.data["sku"] for found in lines(harness)] == ["4", "3", "2", "1"]
    # A row less is a line less.
    assert counts(submit(harness, *rows[:2])) == (0, 2, 0)
    assert [found.data["sku"] for found in lines(harness)] == ["1", "2"]


def test_one_of_two_equal_rows_is_changed(harness: ProducerHarness) -> None:
    """The job of both stays that of the other, and is not cancelled."""
    both = [row("a", key="1", sku="1"), row("a", key="2", sku="2")]
    for changed in (0, 1):
        harness.producer.ledger.redis.flushdb()
        submit(harness, *both)
        rows = [row("a", "pan right", key=str(n + 1)) if n == changed else both[n] for n in (0, 1)]
        assert counts(plan(harness, *rows)) == (1, 1, 0)
        assert counts(submit(harness, *rows)) == (1, 1, 0)
        assert counts(submit(harness, *rows)) == (0, 2, 0)
        expected = ["pan left", "pan left"]
        expected[changed] = "pan right"
        assert [found.prompt for found in lines(harness)] == expected
        assert {found.state for found in lines(harness)} == {State.QUEUED}
    submit(harness, row("a", "zoom", key="1"), row("a", "zoom", key="2"))
    assert queries.get_batch(harness.producer, BATCH).total == 1


def test_both_of_two_equal_rows_are_changed(harness: ProducerHarness) -> None:
    submit(harness, row("a", key="1"), row("a", key="2"))
    changed = (row("a", "pan right", key="1"), row("a", "zoom", key="2"))
    assert counts(submit(harness, *changed)) == (2, 0, 0)
    batch = queries.get_batch(harness.producer, BATCH)
    assert (batch.total, batch.queued, batch.cancelled) == (2, 2, 0)


def test_several_prompts_for_one_image_are_told_apart(harness: ProducerHarness) -> None:
    submit(harness, row("a", "one"), row("a", "two"))
    assert counts(submit(harness, row("a", "three"), row("a", "one"))) == (1, 1, 0)
    assert [found.prompt for found in lines(harness)] == ["three", "one"]
    assert counts(submit(harness, row("a", "three"), row("a", "one"), row("a", "two"))) == (1, 2, 0)
    assert queries.get_batch(harness.producer, BATCH).total == 3


def test_a_row_that_is_changed_back_is_changed(harness: ProducerHarness) -> None:
    for prompt in ("one", "two", "one", "two", "one"):
        assert counts(submit(harness, row("a", prompt))) == (1, 0, 0)
    (found,) = lines(harness)
    assert (found.prompt, found.state) == ("one", State.QUEUED)
    assert len(list(queries.list_jobs(harness.producer))) == 5


@pytest.mark.parametrize("source", ["/other.csv", ""])
def test_another_file_only_adds(harness: ProducerHarness, source: str) -> None:
    submit(harness, row("a", "one"), source=source and "/jobs.csv")
    assert counts(submit(harness, row("a", "two"), source=source)) == (1, 0, 0)
    assert [found.prompt for found in lines(harness)] == ["one", "two"]


def test_a_key_of_another_batch_is_refused_with_another_content(harness: ProducerHarness) -> None:
    submit_manifest(harness.producer, harness.manifest(row("a", key="k")), name="autumn")
    assert [found["row"] for found in submit(harness, row("a", "zoom", key="k")).rejected] == [1]
    assert counts(submit(harness, row("a", key="k"))) == (0, 1, 0)


def test_a_redo_of_a_failed_row_takes_its_place(harness: ProducerHarness) -> None:
    submit(harness, row("a", sku="1"), row("b", "zoom"), row("a", sku="3"))
    failed = lines(harness)[0].job_id
    end(harness, failed, "failed")
    made = redo(harness.producer, failed, "better")
    assert redo(harness.producer, failed, "better").job_id == made.job_id
    assert queries.get(harness.producer, failed).replaced_by == made.job_id
    end(harness, made.job_id, "succeeded")
    again = submit(harness, row("a", sku="4"), row("b", "zoom"), row("a", sku="6"))
    assert counts(again) == (0, 3, 0)
    assert [(found.prompt, found.data.get("sku")) for found in lines(harness)] == [
        *(("better", "4"), ("zoom", None), ("better", "6")),
    ]
    batch = queries.get_batch(harness.producer, BATCH)
    assert (batch.total, batch.failed, batch.succeeded) == (2, 0, 1)
    # Beside a clip, a redo makes another one.
    redo(harness.producer, made.job_id, "another")
    assert queries.get_batch(harness.producer, BATCH).total == 3


def test_the_index_is_written_again_when_a_row_was_replaced(harness: ProducerHarness) -> None:
    for prompt in ("one", "two"):
        submit(harness, row("a", prompt, sku="1"), redo_changed=True)
        end(harness, lines(harness)[0].job_id, "succeeded")
        assert write_index_of_ended(harness.producer, BATCH) == "written"
    submit(harness, row("a", "two", sku="2"))
    assert write_index_of_ended(harness.producer, BATCH) == "written"
    assert write_index_of_ended(harness.producer, BATCH) == "unchanged"


def test_rows_of_the_previous_version_are_brought_up(harness: ProducerHarness) -> None:
    """Their records have no content, and their keys name the whole payload."""
    ledger = harness.producer.ledger
    submit(harness, row("a", sku="1"), row("b", key="k"), row("c"))
    fields = ("content", "manifest", "claim")
    for number, job_id in zip(count(), row_ids(ledger, BATCH)):
        key = ledger.redis.hget(ledger.key("job", job_id), "key")
        if number != 1:
            ledger.redis.rename(
                ledger.key("idem", key), ledger.key("idem", f"batch:{BATCH}:old{number}")
            )
        ledger.redis.hset(
            ledger.key("job", job_id), mapping={"v": 1, "fingerprint": f"old{number}"}
        )
        ledger.redis.hdel(ledger.key("job", job_id), *fields)
    content = ledger.redis.keys(ledger.key("idem", f"batch:{BATCH}:*"))
    ledger.redis.delete(*(key for key in content if ":old" not in key))
    ledger.redis.hdel(ledger.key("batch", BATCH), "form")
    for job in ledger.jobs(row_ids(ledger, BATCH)):
        assert job.fact("content"), "read as a record of this version"
    changed = (row("a", sku="2"), row("b", "zoom", key="k"), row("c", "zoom"))
    assert counts(submit(harness, *changed)) == (2, 1, 0)
    assert queries.get_batch(harness.producer, BATCH).total == 3
    assert lines(harness)[0].data == {"sku": "2"}


def test_the_key_of_a_pruned_row_of_the_previous_version_is_known(harness: ProducerHarness) -> None:
    """Its tombstone names the whole payload."""
    submit(harness, row("a"))
    ledger = harness.producer.ledger
    (job_id,) = row_ids(ledger, BATCH)
    payload = {"image": f"{SITE}/a.jpg", "prompt": "pan left"}
    former = rows_of_jobs([payload])
    (found,) = former
    assert found.job is not None
    key = ledger.key("idem", f"batch:{BATCH}:{found.job.fingerprint}")
    ledger.redis.flushdb()
    ledger.redis.set(key, f"{job_id}|{found.job.fingerprint}|succeeded")
    assert counts(submit(harness, row("a"))) == (0, 1, 0)


def test_a_replaced_job_that_is_pruned_leaves_the_content_to_the_current_one(
    harness: ProducerHarness,
) -> None:
    for prompt in ("one", "two", "one"):
        submit(harness, row("a", prompt))
    ledger = harness.producer.ledger
    ids = [found.job_id for found in queries.list_jobs(harness.producer)]
    end(harness, lines(harness)[0].job_id, "succeeded")
    ledger.redis.delete("outbox:{rq}")
    assert ledger.scripts.run("prune", 10**15, 0, *ids) == ["PRUNED"] * 3
    assert counts(submit(harness, row("a", "one"))) == (0, 1, 0)


def test_jobs_that_a_recovery_brings_back_are_known(harness: ProducerHarness) -> None:
    """Redis has lost everything. The journal has the payments, of replaced jobs too."""
    first, second, ledger = row("a", key="k"), row("a", "zoom", key="k"), harness.producer.ledger
    submit(harness, first, row("b"))
    submit(harness, second, row("b", "two"))
    lost = list(ledger.jobs(found.job_id for found in queries.list_jobs(harness.producer)))
    ledger.redis.flushdb()
    ledger.open_batch(BATCH, "spring", 1)
    for job in lost:
        key, fingerprint, number = job.facts["key"], job.facts["fingerprint"], job.number("row")
        new = NewJob(job.id, job.payload, fingerprint, key=key, batch_id=BATCH, row=number)
        assert ledger.submit(new).verdict == "OK", "each payment is in the ledger again"
    assert counts(submit(harness, second, row("b", "two"))) == (0, 2, 0)
    unkeyed = row("a", "zoom")
    assert counts(submit(harness, unkeyed, row("b", "two"))) == (0, 2, 0)
    assert counts(submit(harness, unkeyed, row("b", "three"))) == (1, 1, 0)
