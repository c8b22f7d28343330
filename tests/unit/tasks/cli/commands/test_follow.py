"""``reelqueue status``, ``watch`` and ``list``."""

import json

from tests.unit.tasks.cli.job_ends import fail_job, hold_job
from tests.unit.tasks.conftest import ProducerHarness, RunCommand
from worker.ledger.model.states import State


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
