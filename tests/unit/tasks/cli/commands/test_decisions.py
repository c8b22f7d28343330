"""``reelqueue release``, ``retry``, ``redo`` and ``cancel``."""

import re
from collections.abc import Iterator

import pytest

from tasks.producer import queries
from tests.unit.tasks.cli.job_ends import fail_job, finish_jobs, hold_job
from tests.unit.tasks.conftest import ProducerHarness, RunCommand
from worker.ledger.model.states import HOLD_REASONS, Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.reader import RowState

URL = "https://example.org/a.jpg"


def test_retry_cancel_and_release_print_what_changed(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    job_id = harness.submit()
    assert run_command("retry", job_id, "--json").records == [
        {"id": job_id, "changed": 0, "skipped": {"not_failed": 1}}
    ]
    fail_job(harness, job_id)
    assert run_command("retry", job_id, "--json").records[0]["changed"] == 1
    hold_job(harness, job_id)
    assert run_command("release", "--reason", "credits", "--json").records == [
        {"id": "credits", "changed": 1, "skipped": {}}
    ]
    assert run_command("cancel", job_id, "--json").records[0]["changed"] == 1
    assert run_command("cancel", job_id, "--json").records[0]["skipped"] == {"ended": 1}
    assert run_command("cancel", "nope").code == 2


def test_retry_of_a_held_job_prints_its_remedy(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    job_id = harness.submit()
    hold_job(harness, job_id)
    answer = run_command("retry", job_id)
    assert answer.code == 2
    assert "Top up." in answer.err


def test_release_of_an_unknown_outcome_needs_a_choice(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    job_id = harness.submit()
    harness.begin_payment(job_id)
    job = harness.producer.ledger.job(job_id)
    assert job is not None
    harness.producer.ledger.scripts.run(
        *("commit", job_id, f"{job.fence}:n", "n", "held", 0, "outcome_unknown", "settling", "")
    )
    answer = run_command("release", job_id)
    assert answer.code == 2
    assert "--pay-again" in answer.err
    assert "--as-done" in answer.err
    assert run_command("release", job_id, "--pay-again", "--as-done").code == 2
    assert run_command("release", job_id, "--as-done").code == 0


def test_release_takes_either_ids_or_a_reason(run_command: RunCommand) -> None:
    assert run_command("release").code == 2
    assert run_command("release", "x", "--reason", "credits").code == 2


@pytest.mark.parametrize("reason", ["boredom", "bad_image"])
def test_release_offers_and_takes_only_reasons_for_which_jobs_are_held(
    run_command: RunCommand, reason: str
) -> None:
    answer = run_command("release", "--reason", reason)
    assert (answer.code, answer.out) == (2, "")
    named = set(re.findall(r"\b[a-z_]+\b", answer.err)) & set(Reason)
    assert named - {reason} == HOLD_REASONS
    assert ("`reelqueue retry`" in " ".join(answer.err.split())) == (reason == "bad_image")


def test_a_change_of_nothing_says_why(run_command: RunCommand, harness: ProducerHarness) -> None:
    harness.submit_batch(2)
    for arguments, why in (
        (("release", "spring"), "none of its jobs is held"),
        (("release", "spring", "--reason", "credits"), "none of its jobs is held for this reason"),
        (("release", "--reason", "credits"), "no job is held for this reason"),
        (("release", "--set-aside"), "nothing is set aside"),
        (("retry", "spring"), "none of its jobs has failed"),
    ):
        answer = run_command(*arguments)
        assert answer.code == 0
        assert answer.out.endswith(f"  0 changed: {why}\n")


def test_redo_is_a_new_job_of_the_same_batch(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    (harness.folder / "jobs.csv").write_text(f"image,sku\n{URL},A-1\n")
    batch_id = run_command("batch", "submit", "jobs.csv", "--json").records[0]["batch_id"]
    (parent,) = queries.list_batch_jobs(harness.producer, batch_id)
    assert run_command("redo", parent.job_id).code == 2, "the job has not ended"
    fail_job(harness, parent.job_id)
    run_command("batch", "pause", batch_id)
    again = run_command("redo", parent.job_id, "--prompt", "Show {sku} slowly", "--json").records[0]
    record = queries.get(harness.producer, again["job_id"])
    assert (record.parent_id, record.batch_id, record.prompt) == (
        *(parent.job_id, batch_id, "Show A-1 slowly"),
    )
    assert [job_id for job_id, _ in harness.producer.ledger.due(9, room=9, admit=9)] == [
        record.job_id
    ], "it starts although the batch is paused"
    assert run_command("redo", "nope").code == 2


def test_redo_with_the_same_key_is_always_the_same_job(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    parent = harness.submit()
    fail_job(harness, parent)
    first = run_command("redo", parent, "--key", "k", "--json").records[0]
    again = run_command("redo", parent, "--key", "k", "--json").records[0]
    assert (first["duplicate"], again) == (False, {**first, "duplicate": True})
    assert run_command("redo", parent, "--key", "k", "--prompt", "Pan left").code == 2, (
        "the prompt differs"
    )
    assert run_command("redo", parent, parent, "--key", "k").code == 2, "a key is for one job"


def test_redo_can_wait_and_exits_with_the_code_of_its_jobs(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    parent = harness.submit()
    fail_job(harness, parent)
    new_id = run_command("redo", parent, "--json").records[0]["job_id"]
    hold_job(harness, new_id)
    answer = run_command("redo", parent, "--wait", "--json")
    assert (answer.code, answer.records[0]["job_id"]) == (4, new_id), (
        "a repeated redo is the same job"
    )


def test_release_of_jobs_over_budget_says_what_to_do_and_changes_nothing(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    batch_id, ledger = harness.submit_batch(1), harness.producer.ledger
    ledger.set_budget(batch_id, 50)
    (job,) = queries.list_batch_jobs(harness.producer, batch_id)
    harness.finish_step(
        job.job_id, State.HELD, reason=Reason.BUDGET, message="No.", remedy="Raise it."
    )
    for given in ((job.job_id,), (batch_id,), ("--reason", "budget")):
        answer = run_command("release", *given)
        assert answer.code == 2
        assert "0 changed, 1 over their batch's budget" in answer.out
        assert "--max-credits" in answer.out
    ledger.set_budget(batch_id, 500)
    assert run_command("release", job.job_id).code == 0


def test_cancel_of_a_batch_says_how_many_continue_because_they_are_paid(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    batch_id = harness.submit_batch(3)
    (paid, *_), *_ = ([row.job_id for row in page] for page in _states(harness, batch_id))
    harness.begin_payment(paid)
    out = run_command("cancel", "spring").out
    assert out == (
        f"{batch_id}  2 cancelled, 1 continue to their clips, because they are paid for\n"
    )
    assert run_command("cancel", paid, "--json").records == [
        {"id": paid, "changed": 0, "skipped": {"continues": 1}}
    ]


def _states(harness: ProducerHarness, batch_id: str) -> Iterator[list[RowState]]:
    return harness.producer.ledger.row_states(batch_id)


def test_redo_of_a_batch_makes_its_failed_jobs_again(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    harness.submit_batch(4)
    finish_jobs(harness, [State.FAILED, State.SUCCEEDED, State.FAILED, State.CANCELLED])
    made = run_command("redo", "spring", "--json")
    assert (made.code, len(made.records)) == (0, 2)
    assert not any(record["duplicate"] for record in made.records)
    nothing = run_command("redo", "spring")
    assert (nothing.code, "nothing is made again" in nothing.err) == (0, True)
    assert len(run_command("redo", "spring", "--state", "cancelled", "--json").records) == 1
    batch = run_command("status", "spring", "--json").records[0]
    assert (batch["queued"], batch["succeeded"], batch["total"]) == (3, 1, 4)
    assert run_command("redo", "spring", "--key", "k").code == 2
    assert run_command("redo", "spring", "--state", "queued").code == 2


def test_redo_of_a_batch_names_each_job_that_cannot_be_made(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    harness.submit_batch(2)
    finish_jobs(harness, [State.FAILED, State.FAILED])
    answer = run_command("redo", "spring", "--prompt", "Show {name}")
    assert (answer.code, answer.err.count("the row has no {name}")) == (2, 2)


def test_release_of_a_job_that_is_held_for_another_reason(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    job_id = harness.submit()
    hold_job(harness, job_id)
    assert run_command("release", job_id, "--reason", "plan", "--json").records == [
        {"id": job_id, "changed": 0, "skipped": {"other_reason": 1}}
    ]
    assert (
        run_command("release", job_id, "--reason", "credits", "--json").records[0]["changed"] == 1
    )


def test_release_with_a_higher_budget_resumes_what_it_pays_for(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    batch_id = harness.submit_batch(3)
    harness.producer.ledger.set_budget(batch_id, 50)
    for _ in range(3):
        harness.finish_next_step(Commit(State.HELD, reason=Reason.BUDGET, message="No."))
    shown = run_command("status", "spring").out
    assert f"  reelqueue release {batch_id} --max-credits CREDITS\n" in shown
    answer = run_command("release", "spring", "--max-credits", "250", "--json")
    assert answer.records == [{"id": batch_id, "changed": 2, "skipped": {"budget": 1}}]
    batch = run_command("status", "spring", "--json").records[0]
    assert (batch["queued"], batch["held"]) == (2, 1)
    assert run_command("release", "spring", "--max-credits", "10").code == 2
    for wrong in (("--max-credits", "9"), ("spring", "spring", "--max-credits", "9")):
        assert run_command("release", *wrong).code == 2
    for number in ("inf", "nan", "-1"):
        assert run_command("release", "spring", "--max-credits", number).code == 2
