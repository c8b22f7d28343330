"""Errors of the API before the paid message, and failures that take more than one step.

Errors of the message itself and after it are in `test_code_table`.
"""

import pytest

from tests.support.stack import Stack
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import Reason, State

pytestmark = pytest.mark.integration

END = (State.SUCCEEDED, State.FAILED, State.HELD)


def paid(stack: Stack, job: Job) -> int:
    """Return the number of charged messages of a job."""
    return sum(bool(message["charged"]) for message in stack.messages_of(job))


@pytest.mark.parametrize("style", ["envelope", "status"])
@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("session", 503),
        ("session", 429),
        ("upload", 500),
        ("upload", 1002),
        ("state", 502),
        ("credits", 500),
    ],
)
def test_transient_errors_are_retried(clean_stack: Stack, call: str, code: int, style: str) -> None:
    stack = clean_stack
    stack.sandbox.inject_faults({"call": call, "action": "refuse", "code": code, "style": style})
    job = stack.wait_for(stack.submit(stack.image()), *END)
    assert (job.state, job.message) == (State.SUCCEEDED, "")
    assert paid(stack, job) == 1


@pytest.mark.parametrize(
    ("call", "code", "state", "reason"),
    [
        ("session", 1001, State.HELD, Reason.TOKEN),
        ("message", 2001, State.HELD, Reason.CREDITS),
        ("upload", 4001, State.FAILED, Reason.UNSUPPORTED_FILE),
        ("upload", 4002, State.FAILED, Reason.FILE_TOO_LARGE),
    ],
)
def test_errors_that_need_a_person_stop_the_job_with_a_remedy(
    clean_stack: Stack, call: str, code: int, state: State, reason: Reason
) -> None:
    stack = clean_stack
    fault = {"call": call, "action": "refuse", "code": code, "times": 1000}
    stack.sandbox.inject_faults(fault)
    job = stack.wait_for(stack.submit(stack.image()), State.FAILED, State.HELD)
    assert (job.state, job.reason) == (state, reason)
    assert job.remedy
    assert paid(stack, job) == 0


@pytest.mark.parametrize("style", ["envelope", "status"])
def test_a_release_after_a_change_of_plan_renders_without_paying_again(
    clean_stack: Stack, style: str
) -> None:
    stack = clean_stack
    fault = {"call": "export", "action": "refuse", "code": 402, "style": style, "times": 1}
    stack.sandbox.inject_faults(fault)
    job_id = stack.submit(stack.image())
    held = stack.wait_for(job_id, State.HELD)
    assert (held.reason, paid(stack, held), stack.renders_of(held)) == (Reason.PLAN, 1, [])
    assert held.message
    assert held.remedy
    assert stack.ledger.release(job_id) == "OK"
    job = stack.wait_for(job_id, State.SUCCEEDED)
    assert paid(stack, job) == 1


def test_a_plan_that_allows_no_export_stops_payments_until_an_export_succeeds(
    clean_stack: Stack,
) -> None:
    stack = clean_stack
    stack.sandbox.inject_faults({"call": "export", "action": "refuse", "code": 402, "times": 1})
    first = stack.submit(stack.image())
    stack.wait_for(first, State.HELD)
    others = [stack.submit(stack.image()) for _ in range(3)]
    for job_id in others:
        job = stack.wait_for(job_id, State.HELD)
        assert (job.reason, paid(stack, job)) == (Reason.PLAN, 0)
    assert stack.ledger.release(first) == "OK"
    for job_id in (first, *others):
        assert paid(stack, stack.wait_for(job_id, State.SUCCEEDED)) == 1


def test_a_failed_render_is_repeated_once_and_then_fails_the_job(clean_stack: Stack) -> None:
    stack = clean_stack
    stack.sandbox.inject_faults({"call": "export", "action": "fail", "times": 3})
    job_id = stack.submit(stack.image())
    job = stack.wait_for(job_id, *END)
    assert (job.state, job.reason) == (State.FAILED, Reason.RENDER_FAILED)
    assert len(stack.renders_of(job)) == 2
    stack.ledger.retry(job_id)
    stack.wait_for(job_id, State.SUCCEEDED)
    assert (len(stack.renders_of(job)), paid(stack, job)) == (4, 1)


def test_a_broken_stream_whose_run_continued_succeeds(clean_stack: Stack) -> None:
    stack = clean_stack
    stack.sandbox.inject_faults({"call": "message", "action": "break", "then": "finish"})
    job = stack.wait_for(stack.submit(stack.image()), State.SUCCEEDED)
    assert paid(stack, job) == 1


def test_a_broken_stream_whose_run_stopped_is_held_until_a_person_decides(
    clean_stack: Stack,
) -> None:
    stack = clean_stack
    stack.sandbox.inject_faults({"call": "message", "action": "break", "then": "stay"})
    job_id = stack.submit(stack.image())
    job = stack.wait_for(job_id, *END)
    assert (job.state, job.reason) == (State.HELD, Reason.OUTCOME_UNKNOWN)
    assert job.number("readings") >= 5
    assert stack.ledger.release(job_id) == "NEEDS_CHOICE"
    assert stack.ledger.release(job_id, mode="pay_again", who="test") == "OK"
    job = stack.wait_for(job_id, State.SUCCEEDED)
    assert len(stack.messages_of(job)) == 2


def test_one_question_is_answered_and_a_second_one_holds_the_job(clean_stack: Stack) -> None:
    stack = clean_stack
    stack.sandbox.inject_faults({"call": "message", "action": "question", "times": 1})
    job = stack.wait_for(stack.submit(stack.image()), *END)
    assert (job.state, job.paid_messages) == (State.SUCCEEDED, 2)
    stack.sandbox.inject_faults({"call": "message", "action": "question", "times": 2})
    job = stack.wait_for(stack.submit(stack.image()), *END)
    assert (job.state, job.reason) == (State.HELD, Reason.QUESTION)
    assert "?" in job.message


def test_a_session_that_is_lost_between_two_turns_is_not_paid_again(clean_stack: Stack) -> None:
    stack = clean_stack
    stack.sandbox.inject_faults(
        {"call": "message", "action": "question", "times": 1},
        {"call": "message", "action": "refuse", "code": 1002, "times": 1},
    )
    job = stack.wait_for(stack.submit(stack.image()), *END)
    assert (job.state, job.reason) == (State.HELD, Reason.SESSION_LOST)
    assert (job.paid_messages, paid(stack, job)) == (1, 1)


def test_a_render_that_the_api_does_not_know_is_repeated(clean_stack: Stack) -> None:
    stack = clean_stack
    stack.sandbox.inject_faults({"call": "poll", "action": "refuse", "code": 404})
    job = stack.wait_for(stack.submit(stack.image()), *END)
    assert job.state is State.SUCCEEDED
    assert (len(stack.renders_of(job)), paid(stack, job)) == (2, 1)


@pytest.mark.parametrize("code", [408, 409])
def test_a_message_that_may_have_run_is_not_resent(clean_stack: Stack, code: int) -> None:
    """The time-out of a gateway does not tell whether the API processed the message."""
    stack = clean_stack
    stack.sandbox.inject_faults({"call": "message", "action": "refuse", "code": code, "times": 1})
    job = stack.wait_for(stack.submit(stack.image()), *END)
    assert (job.state, job.reason) == (State.HELD, Reason.OUTCOME_UNKNOWN)
    assert (job.paid_messages, len(stack.messages_of(job))) == (1, 0)
