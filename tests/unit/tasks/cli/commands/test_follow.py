"""``reelqueue status``, ``watch`` and ``list``."""

import json
import re

import pytest
from rich.cells import cell_len

from tests.support.commands import CommandResult
from tests.unit.tasks.cli.job_ends import fail_job, hold_job
from tests.unit.tasks.conftest import ProducerHarness, RunCommand
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit


def test_status_prints_the_known_jobs_and_names_unknown_ids(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    job_id = harness.submit()
    answer = run_command("status", "nope", job_id, "--json")
    assert (answer.code, len(answer.records)) == (2, 1)
    assert "nope" in answer.err


def test_status_shows_changes_of_the_image_and_quality_findings(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    job_id = harness.submit()
    frozen = {"code": "frozen", "message": "Nothing moves in it."}
    sizes = {"bytes": 1, "width": 640, "height": 360, "seconds": 1.0}
    clip = {**sizes, "sha256": "0", "codec": "h264", "key": "a.mp4", "findings": [frozen]}
    changes = ["scaled down from 9000 by 9 to 8192 by 8 pixels"]
    facts = {"clip": json.dumps(clip), "changes": json.dumps(changes)}
    harness.finish_step(job_id, State.SUCCEEDED, facts=facts)
    out = run_command("status", job_id).out
    assert f"changes   {changes[0]}" in out
    assert f"quality   {frozen['message']}" in out


def test_status_shows_reason_and_remedy_without_control_characters(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    job_id = harness.submit(prompt="Pan \x1b[31mleft")
    hold_job(harness, job_id)
    answer = run_command("status", job_id)
    assert answer.code == 0
    assert "credits: No." in answer.out
    assert "Top up." in answer.out
    assert "\x1b" not in answer.out


def test_list_filters_by_state_reason_batch_and_limit(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    jobs = [harness.submit() for _ in range(4)]
    fail_job(harness, jobs[0])
    hold_job(harness, jobs[1])

    def ids(*options: str) -> list[str]:
        return [record["job_id"] for record in run_command("list", "--json", *options).records]

    assert sorted(ids()) == sorted(jobs)
    assert ids("--state", "failed") == [jobs[0]]
    assert sorted(ids("--state", "failed", "--state", "held")) == sorted(jobs[:2])
    assert ids("--reason", "credits") == [jobs[1]]
    assert len(ids("--limit", "2")) == 2
    assert run_command("list", "--batch", "nope").code == 2
    assert jobs[0] in run_command("list").out


def test_watch_prints_each_change_once_until_the_jobs_have_ended(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    jobs = [harness.submit(), harness.submit()]
    fail_job(harness, jobs[0])
    hold_job(harness, jobs[1])
    answer = run_command("watch", *jobs)
    assert answer.code == 0
    assert [line.split()[:2] for line in answer.out.splitlines()] == [
        *([jobs[0], "failed"], [jobs[1], "held"]),
    ]
    assert run_command("watch", "nope").code == 2


def lines_of(answer: CommandResult) -> list[str]:
    return answer.out.splitlines()


def test_list_takes_the_names_under_which_batches_count_their_jobs(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    held, running = harness.submit(), harness.submit()
    hold_job(harness, held)
    harness.claim(running)
    queued = harness.submit()

    def listed(state: str) -> set[str]:
        found = run_command("list", "--state", state, "--json").records
        return {record["job_id"] for record in found}

    assert listed("running") == {running}
    assert listed("open") == {queued, running}
    assert listed("held") == {held}
    answer = run_command("list", "--state", "done")
    assert answer.code == 2
    assert "running" in answer.err


@pytest.mark.parametrize("columns", [200, 80, 60, 40])
def test_the_list_keeps_id_state_and_reason_at_every_width(
    run_command: RunCommand, harness: ProducerHarness, columns: int
) -> None:
    job_id = harness.submit(prompt="Slow push-in on the cup while the steam rises" * 2)
    failed = harness.submit(image="https://example.org/猫猫猫猫猫猫猫猫猫猫猫猫猫猫猫猫.jpg")
    harness.finish_step(
        failed, State.FAILED, reason=Reason.SOURCE_UNREACHABLE, message="No.", remedy="Try."
    )
    heading, *rows = lines_of(run_command("list", env={"COLUMNS": str(columns)}))
    assert heading.split()[:3] == ["job", "state", "reason"]
    assert all(cell_len(line) <= columns for line in (heading, *rows))
    found = {tuple(row.split()[:3]) for row in rows if "failed" in row}
    ((short_id, state, reason),) = found
    assert (state, reason) == ("failed", "source_unreachable")
    assert failed.startswith(short_id)
    assert len(short_id) >= 8
    assert any(row.startswith(job_id[:8]) for row in rows)


def test_the_list_in_a_pipe_cuts_nothing(run_command: RunCommand, harness: ProducerHarness) -> None:
    job_id = harness.submit(prompt="Slow push-in on the cup, steam rises, 6 seconds")
    out = run_command("list", env={"COLUMNS": None}).out
    assert job_id in out
    assert "Slow push-in on the cup, steam rises, 6 seconds" in out


def test_the_list_says_when_it_ends_at_its_limit(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    harness.submit_batch(3)
    for flags in ((), ("--json",), ("--state", "queued")):
        answer = run_command("list", "--limit", "2", *flags)
        assert "There are more than 2 jobs. Use --limit 20" in answer.err, flags
    assert run_command("list", "--limit", "3").err == ""
    harness.submit()
    assert run_command("list", "--batches", "--limit", "1").err == ""


def test_held_jobs_are_grouped_with_a_command_each(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    batch_id = harness.submit_batch(3)
    for reason in (Reason.CREDITS, Reason.RENDER_SLOW, Reason.RENDER_SLOW):
        harness.finish_next_step(Commit(State.HELD, reason=reason, message="No.", remedy="Do."))
    for arguments in (("status", "spring"), ("list", "--batch", "spring"), ("watch", batch_id[:9])):
        out = run_command(*arguments).out
        assert out.index("held: render_slow (2 jobs)") < out.index("held: credits (1 job)")
        assert f"  reelqueue release {batch_id} --reason render_slow\n" in out
        assert "  reelqueue credits\n" in out
    out = run_command("list", "--state", "held", "--reason", "render_slow").out
    assert "  reelqueue release --reason render_slow\n" in out
    assert "held: credits" not in out
    assert run_command("release", "spring", "--reason", "render_slow", "--json").records == [
        {"id": batch_id, "changed": 2, "skipped": {}}
    ]


def test_watch_of_a_paused_batch_says_how_to_resume_it(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    batch_id = harness.submit_batch(2)
    run_command("batch", "pause", "spring")
    for flags in ((), ("--json",)):
        answer = run_command("watch", "spring", *flags)
        assert answer.code == 4
        assert (
            f"paused, and 2 of its jobs wait. Resume it with `reelqueue batch resume {batch_id}`"
            in (answer.err)
        )
    run_command("cancel", "spring")
    assert run_command("watch", "spring").code == 0, "no job waits any more"


def test_status_in_the_order_asked_by_name_and_beginning(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    job_id, batch_id = harness.submit(), harness.submit_batch(1)
    records = run_command("status", job_id[:8], "spring", "--json").records
    assert [records[0]["job_id"], records[1]["batch_id"]] == [job_id, batch_id]


def test_the_time_left_says_until_when_at_the_latest(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    batch_id = harness.submit_batch(2)
    assert "the time left is not known: no worker is running" in run_command("status", batch_id).out
    harness.producer.ledger.due(0, room=10, admit=10)
    out = run_command("status", batch_id).out
    assert re.search(r"about 4 min to go, until .*\d\d:\d\d at the latest\n", out)
    record = run_command("status", batch_id, "--json").records[0]
    assert 0 < record["eta_seconds"] < record["latest_seconds"]
