"""A batch whose rows share one session: they run one after another, each with its own clip."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import run_reelqueue
from tests.support.ledger_access import row_ids
from tests.support.stack import Stack
from tests.support.waiting import wait_until
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import Reason, State

pytestmark = pytest.mark.integration


def batch(stack: Stack, name: str, rows: int, *options: str) -> str:
    """Submit a folder of pictures as a batch with a shared session; return its ID."""
    folder = stack.folder / name
    folder.mkdir()
    for n in range(rows):
        stack.image(f"{name}/picture{n}.png", color=n * 45)  # distinct after any compression
    command = ("batch", "submit", folder, "--session", "shared", *options, "--json")
    prompt = ("--prompt", "a 1-second slow push-in")
    answer = run_reelqueue(*command, *prompt, env=stack.env)
    assert answer.code == 0, answer.err
    (record,) = answer.records
    assert record["jobs"] == rows
    return str(record["batch_id"])


def jobs(stack: Stack, batch_id: str) -> list[Job]:
    return [stack.job(job_id) for job_id in row_ids(stack.ledger, batch_id)]


def messages(stack: Stack, session_ids: set[str | None]) -> list[dict[str, Any]]:
    return [m for m in stack.sandbox.ledger()["messages"] if m["session_id"] in session_ids]


def test_five_rows_share_one_session_and_have_their_own_clips(clean_stack: Stack) -> None:
    stack = clean_stack
    batch_id = batch(stack, "five", 5)
    stack.wait_until_idle()
    done = jobs(stack, batch_id)
    assert [job.state for job in done] == [State.SUCCEEDED] * 5
    sessions = {job.fact("session_id") for job in done}
    assert len(sessions) == 1
    sent = messages(stack, sessions)
    assert len(sent) == 5
    assert not any(message["overlapping"] for message in sent)
    names = [str(m["text"]).partition("Work with ")[2].partition(" only")[0] for m in sent]
    assert names == [job.fact("picture") for job in done], (
        "each message names its picture, in the order of the rows"
    )
    assert len(set(names)) == 5
    uploads = [u["name"] for u in stack.sandbox.ledger()["uploads"] if u["session_id"] in sessions]
    assert uploads == names
    clips = [json.loads(str(job.fact("clip"))) for job in done]
    assert len({clip["sha256"] for clip in clips}) == 5
    assert all((stack.folder / "output" / Path(clip["key"])).exists() for clip in clips)
    pictures = {str(m["image_sha256"]) for m in sent}
    assert len(pictures) == 5, "each message worked on the picture that it names"


def test_an_unknown_outcome_pauses_the_batch_until_it_is_decided(clean_stack: Stack) -> None:
    stack = clean_stack
    stack.sandbox.inject_faults(
        {"call": "message", "action": "gui"},
        {"call": "message", "action": "break", "then": "stay", "at": 0.05},
    )
    batch_id = batch(stack, "doubt", 3)

    def paused() -> bool:
        found = stack.ledger.batch(batch_id)
        return found is not None and found.paused

    wait_until(paused, "the batch to be paused")
    first, second, third = jobs(stack, batch_id)
    assert (second.state, second.reason) == (State.HELD, Reason.OUTCOME_UNKNOWN)
    assert (third.state, third.paid_messages) == (State.QUEUED, 0)
    found = stack.ledger.batch(batch_id)
    assert found is not None
    assert found.blocked_by == second.id
    assert stack.ledger.release(second.id, mode="pay_again", who="tests") == "OK"
    stack.wait_until_idle()
    done = jobs(stack, batch_id)
    assert [job.state for job in done] == [State.SUCCEEDED] * 3
    assert [job.paid_messages for job in done] == [1, 2, 1]
    assert len({job.fact("session_id") for job in done}) == 1
    assert first.fact("session_id") is not None


def test_a_session_that_is_lost_before_payment_is_replaced_for_the_other_rows(
    clean_stack: Stack,
) -> None:
    stack = clean_stack
    stack.sandbox.inject_faults({"call": "upload", "action": "refuse", "code": 1002})
    batch_id = batch(stack, "lost", 3)
    stack.wait_until_idle()
    done = jobs(stack, batch_id)
    assert [job.state for job in done] == [State.SUCCEEDED] * 3
    assert [job.paid_messages for job in done] == [1, 1, 1]
    assert len({job.fact("session_id") for job in done}) == 1


def test_a_pilot_can_be_redone_before_the_rest_uses_the_same_session(
    clean_stack: Stack,
) -> None:
    stack = clean_stack
    batch_id = batch(stack, "pilot", 3, "--pilot", "1")
    wait_until(lambda: jobs(stack, batch_id)[0].state is State.SUCCEEDED, "the pilot to end")
    found = stack.ledger.batch(batch_id)
    assert found is not None
    assert (found.paused, found.open) == (True, 2)
    first = jobs(stack, batch_id)[0]

    answer = run_reelqueue(
        "redo", first.id, "--prompt", "a 1-second pan left", "--wait", "--json", env=stack.env
    )
    assert answer.code == 0, answer.err
    (made,) = answer.records
    assert made["state"] == "succeeded"
    assert made["session"]["session_id"] == first.fact("session_id")
    found = stack.ledger.batch(batch_id)
    assert found is not None
    assert (found.paused, found.open) == (True, 2), "the rest waits for the batch to be resumed"

    assert run_reelqueue("batch", "resume", batch_id, env=stack.env).code == 0
    stack.wait_until_idle()
    done = jobs(stack, batch_id)
    assert [job.state for job in done] == [State.SUCCEEDED] * 4
    sessions = {job.fact("session_id") for job in done}
    assert len(sessions) == 1
    sent = messages(stack, sessions)
    assert not any(message["overlapping"] for message in sent)
    pictures = [message["image_sha256"] for message in sent]
    assert pictures[0] == pictures[1], "the same picture again"
    assert len(set(pictures)) == 3
    clips = [json.loads(str(job.fact("clip"))) for job in done]
    assert len({clip["key"] for clip in clips}) == len({clip["sha256"] for clip in clips}) == 4
