"""Every remedy that names a command: the command changes the job, or says why it does not."""

import re
import shlex
from typing import Final

import pytest

from tasks.step.remedy_messages import remedy_message
from tests.unit.tasks.conftest import ProducerHarness, RunCommand
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import HOLD_REASONS, Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.payments import Payments

UNPAID, PAID = False, True
HELD: Final = [
    *((reason, UNPAID) for reason in (Reason.CREDITS, Reason.BUDGET, Reason.BLOCKED)),
    *((reason, paid) for reason in (Reason.TOKEN, Reason.PLAN) for paid in (UNPAID, PAID)),
    *((reason, paid) for reason in (Reason.POISON, Reason.STORE) for paid in (UNPAID, PAID)),
    *((Reason.SESSION_LOST, paid) for paid in (UNPAID, PAID)),
    *((reason, PAID) for reason in (Reason.OUTCOME_UNKNOWN, Reason.QUESTION, Reason.RENDER_SLOW)),
    (Reason.CLIP_INCOMPLETE, PAID),
]
FAILED: Final = [
    *(Reason.RENDER_FAILED, Reason.DELIVERY_FAILED, Reason.BAD_CLIP, Reason.SOURCE_UNREACHABLE),
]
WITHOUT_COMMAND: Final = {
    Reason.CREDITS: "continues when",
    Reason.BLOCKED: "Release or cancel the job that blocks it",
}
"""Remedies without a command for the job itself."""
INFORM: Final = ("doctor", "status", "list")


def job_of(harness: ProducerHarness, job_id: str) -> Job:
    job = harness.producer.ledger.job(job_id)
    assert job is not None
    return job


def end_job(
    harness: ProducerHarness, reason: Reason, *, paid: bool, state: State = State.HELD
) -> Job:
    """Hold a job, or let it fail, as a worker does."""
    facts = {}
    if reason is Reason.BLOCKED:
        facts["blocked_by"] = end_job(harness, Reason.OUTCOME_UNKNOWN, paid=PAID).id
    ledger, job_id = harness.producer.ledger, harness.submit(seconds=5)
    if paid:
        harness.begin_payment(job_id)
    else:
        ledger.update_facts(job_id, harness.claim(job_id), {"account": "a"})
    job = job_of(harness, job_id)
    remedy = remedy_message(reason, job, harness.producer.settings)
    resume = State.SETTLING if paid else State.PREPARING
    message = "It happened."
    end = Commit(state, reason=reason, message=message, remedy=remedy, resume=resume, facts=facts)
    assert ledger.commit(job_id, f"{job.fence}:n", end)
    if reason is Reason.PLAN:
        Payments(ledger).record_plan_refused("a")
    return job_of(harness, job_id)


def commands(remedy: str) -> list[list[str]]:
    """Return the commands of a remedy that change something."""
    found = map(shlex.split, re.findall(r"`reelqueue ([^`]+)`", remedy))
    return [command for command in found if command[0] not in INFORM]


def test_the_table_has_every_reason() -> None:
    assert {reason for reason, _ in HELD} == HOLD_REASONS


@pytest.mark.parametrize(("reason", "paid"), HELD)
def test_each_command_of_a_held_job_continues_or_ends_it(
    harness: ProducerHarness, run_command: RunCommand, reason: Reason, paid: bool
) -> None:
    first = end_job(harness, reason, paid=paid)
    named = commands(first.remedy)
    if reason is Reason.BUDGET:
        assert named == [["release", "BATCH", "--max-credits", "CREDITS"]]
        return  # It is a command on the batch of the job, and this job has none.
    if reason in WITHOUT_COMMAND:
        assert (named, WITHOUT_COMMAND[reason] in first.remedy) == ([], True)
    elif (reason, paid) == (Reason.SESSION_LOST, UNPAID):
        assert (named, "Submit the image again" in first.remedy) == ([], True)
    else:
        assert named, first.remedy
    for number, command in enumerate(named):
        job = end_job(harness, reason, paid=paid) if number else first
        answer = run_command(*(job.id if word == first.id else word for word in command))
        assert answer.code == 0, (command, answer.out, answer.err)
        assert job_of(harness, job.id).state is not State.HELD, command


def test_the_command_of_a_job_that_its_budget_holds_continues_it(
    harness: ProducerHarness, run_command: RunCommand
) -> None:
    batch_id = harness.submit_batch(1)
    run_command("release", batch_id, "--max-credits", "0")
    (record,) = run_command("list", "--batch", batch_id, "--json").records
    job = job_of(harness, record["job_id"])
    remedy = remedy_message(Reason.BUDGET, job, harness.producer.settings)
    harness.finish_step(job.id, State.HELD, reason=Reason.BUDGET, resume=State.PREPARING)
    (command,) = commands(remedy)
    answer = run_command(*("100" if word == "CREDITS" else word for word in command))
    assert answer.code == 0
    assert job_of(harness, job.id).state is State.QUEUED


@pytest.mark.parametrize("reason", FAILED)
def test_each_command_of_a_failed_job_continues_it(
    harness: ProducerHarness, run_command: RunCommand, reason: Reason
) -> None:
    job = end_job(harness, reason, paid=reason is not Reason.SOURCE_UNREACHABLE, state=State.FAILED)
    (command,) = commands(job.remedy)
    assert run_command(*command).code == 0
    assert not job_of(harness, job.id).state.is_end


def test_a_release_that_cannot_help_an_unpaid_job_of_a_refused_plan_says_so(
    harness: ProducerHarness, run_command: RunCommand
) -> None:
    job = end_job(harness, Reason.PLAN, paid=UNPAID)
    answer = run_command("release", job.id)
    assert (answer.code, job_of(harness, job.id).state) == (2, State.HELD)
    assert "0 changed, 1 of an account whose plan refuses exports" in answer.out
    assert run_command("release", "--reason", "plan").code == 0
    assert job_of(harness, job.id).state is State.QUEUED


def test_a_release_of_a_blocked_job_says_that_another_one_must_be_decided(
    harness: ProducerHarness, run_command: RunCommand
) -> None:
    job = end_job(harness, Reason.BLOCKED, paid=UNPAID)
    job_id, blocker = job.id, job.facts["blocked_by"]
    answer = run_command("release", job_id)
    assert (answer.code, job_of(harness, job_id).state) == (2, State.HELD)
    assert "1 blocked by another job" in answer.out
    assert run_command("release", blocker, "--pay-again").code == 0
    assert job_of(harness, job_id).state is State.QUEUED, "it continues by itself"
