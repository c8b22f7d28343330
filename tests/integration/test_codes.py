"""What the API refuses before the message, and what goes wrong in more than one step.

Every code at the message and after it stands in ``test_code_table``.
"""

import pytest

from tests.integration.conftest import House
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import Reason, State

pytestmark = pytest.mark.integration

END = (State.SUCCEEDED, State.FAILED, State.HELD)


def paid(house: House, job: Job) -> int:
    """Messages of a job that were charged."""
    return sum(bool(message["charged"]) for message in house.messages_of(job))


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
def test_what_passes_is_mended_without_a_person(
    calm_house: House, call: str, code: int, style: str
) -> None:
    house = calm_house
    house.sandbox.misbehave({"call": call, "action": "refuse", "code": code, "style": style})
    job = house.wait_for(house.submit(house.image()), *END)
    assert (job.state, job.message) == (State.SUCCEEDED, "")
    assert paid(house, job) == 1


@pytest.mark.parametrize(
    ("call", "code", "state", "reason"),
    [
        ("session", 1001, State.HELD, Reason.TOKEN),
        ("message", 2001, State.HELD, Reason.CREDITS),
        ("upload", 4001, State.FAILED, Reason.UNSUPPORTED_FILE),
        ("upload", 4002, State.FAILED, Reason.FILE_TOO_LARGE),
    ],
)
def test_what_needs_a_person_is_held_with_the_way_out(
    calm_house: House, call: str, code: int, state: State, reason: Reason
) -> None:
    house = calm_house
    fault = {"call": call, "action": "refuse", "code": code, "times": 1000}
    house.sandbox.misbehave(fault)
    job = house.wait_for(house.submit(house.image()), State.FAILED, State.HELD)
    assert (job.state, job.reason) == (state, reason)
    assert job.remedy
    assert paid(house, job) == 0


def test_after_the_plan_was_changed_release_renders_without_paying_again(calm_house: House) -> None:
    house = calm_house
    house.sandbox.misbehave({"call": "export", "action": "refuse", "code": 402, "times": 1})
    job_id = house.submit(house.image())
    house.wait_for(job_id, State.HELD)
    assert house.ledger.release(job_id) == "OK"
    job = house.wait_for(job_id, State.SUCCEEDED)
    assert paid(house, job) == 1


def test_a_failed_render_is_made_once_more_and_then_given_up(calm_house: House) -> None:
    house = calm_house
    house.sandbox.misbehave({"call": "export", "action": "fail", "times": 3})
    job_id = house.submit(house.image())
    job = house.wait_for(job_id, *END)
    assert (job.state, job.reason) == (State.FAILED, Reason.RENDER_FAILED)
    assert len(house.renders_of(job)) == 2
    house.ledger.retry(job_id)
    house.wait_for(job_id, State.SUCCEEDED)
    assert (len(house.renders_of(job)), paid(house, job)) == (4, 1)


def test_a_broken_stream_whose_work_went_on_is_a_success(calm_house: House) -> None:
    house = calm_house
    house.sandbox.misbehave({"call": "message", "action": "break", "then": "finish"})
    job = house.wait_for(house.submit(house.image()), State.SUCCEEDED)
    assert paid(house, job) == 1


def test_a_broken_stream_without_work_is_held_as_unknown_and_paid_again_by_a_person(
    calm_house: House,
) -> None:
    house = calm_house
    house.sandbox.misbehave({"call": "message", "action": "break", "then": "stay"})
    job_id = house.submit(house.image())
    job = house.wait_for(job_id, *END)
    assert (job.state, job.reason) == (State.HELD, Reason.OUTCOME_UNKNOWN)
    assert job.number("readings") >= 5
    assert house.ledger.release(job_id) == "NEEDS_CHOICE"
    assert house.ledger.release(job_id, mode="pay_again", who="test") == "OK"
    job = house.wait_for(job_id, State.SUCCEEDED)
    assert len(house.messages_of(job)) == 2


def test_a_question_is_answered_once_and_a_second_one_holds(calm_house: House) -> None:
    house = calm_house
    house.sandbox.misbehave({"call": "message", "action": "question", "times": 1})
    job = house.wait_for(house.submit(house.image()), *END)
    assert (job.state, job.paid_messages) == (State.SUCCEEDED, 2)
    house.sandbox.misbehave({"call": "message", "action": "question", "times": 2})
    job = house.wait_for(house.submit(house.image()), *END)
    assert (job.state, job.reason) == (State.HELD, Reason.QUESTION)
    assert "?" in job.message


def test_a_session_that_is_lost_between_two_turns_is_not_paid_for_anew(calm_house: House) -> None:
    house = calm_house
    house.sandbox.misbehave(
        {"call": "message", "action": "question", "times": 1},
        {"call": "message", "action": "refuse", "code": 1002, "times": 1},
    )
    job = house.wait_for(house.submit(house.image()), *END)
    assert (job.state, job.reason) == (State.HELD, Reason.SESSION_LOST)
    assert (job.paid_messages, paid(house, job)) == (1, 1)


def test_a_render_that_the_api_does_not_know_is_made_once_more(calm_house: House) -> None:
    house = calm_house
    house.sandbox.misbehave({"call": "poll", "action": "refuse", "code": 404})
    job = house.wait_for(house.submit(house.image()), *END)
    assert job.state is State.SUCCEEDED
    assert (len(house.renders_of(job)), paid(house, job)) == (2, 1)


@pytest.mark.parametrize("code", [408, 409])
def test_a_message_that_may_have_run_is_not_sent_again(calm_house: House, code: int) -> None:
    """A gateway that gave up says nothing about the message behind it."""
    house = calm_house
    house.sandbox.misbehave({"call": "message", "action": "refuse", "code": code, "times": 1})
    job = house.wait_for(house.submit(house.image()), *END)
    assert (job.state, job.reason) == (State.HELD, Reason.OUTCOME_UNKNOWN)
    assert (job.paid_messages, len(house.messages_of(job))) == (1, 0)
