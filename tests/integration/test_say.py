"""Further edits in a finished job's session, and what is answered without one."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import run_reelqueue
from tests.support.stack import Stack
from tests.support.waiting import wait_until
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import Reason, State

pytestmark = pytest.mark.integration


def reelqueue(stack: Stack, *arguments: str) -> tuple[int, list[dict[str, Any]], str]:
    """Run a command on this stack: exit code, records, and the standard error output."""
    result = run_reelqueue(*arguments, "--json", env=stack.env)
    return result.code, result.records, result.err


def made(stack: Stack) -> Job:
    """A job whose clip is there."""
    job_id = stack.submit(stack.image())
    job = stack.wait_for(job_id, State.SUCCEEDED, State.FAILED, State.HELD)
    assert (job.state, job.message) == (State.SUCCEEDED, "")
    return job


def digest(stack: Stack, job: Job) -> str:
    clip = json.loads(str(job.fact("clip")))
    return hashlib.sha256((stack.folder / "output" / Path(clip["key"])).read_bytes()).hexdigest()


def test_an_edit_makes_a_second_clip_in_the_same_project(clean_stack: Stack) -> None:
    stack, job = clean_stack, made(clean_stack)
    code, records, told = reelqueue(
        stack, "say", job.id, "make it 2 seconds, pan left", "--key", "edit-1", "--wait"
    )
    assert (code, told) == (0, "")
    (record,) = records
    assert (record["parent_id"], record["state"]) == (job.id, "succeeded")
    edit = stack.job(record["job_id"])
    assert edit.fact("session_id") == job.fact("session_id")
    assert digest(stack, edit) != digest(stack, job)
    assert [m["text"] for m in stack.messages_of(job)][1:] == ["make it 2 seconds, pan left."]
    assert len(stack.renders_of(job)) == 2
    uploads = [u for u in stack.sandbox.ledger()["uploads"]
               if u["session_id"] == job.fact("session_id")]  # fmt: skip
    assert len(uploads) == 1, "the picture is there already"
    code, (again,), _ = reelqueue(
        stack, "say", job.id, "make it 2 seconds, pan left", "--key", "edit-1"
    )
    assert (code, again["duplicate"], again["job_id"]) == (0, True, edit.id)
    code, _, told = reelqueue(stack, "say", job.id, "make it 3 seconds", "--key", "edit-1")
    assert code == 2
    assert "edit-1" in told


def test_two_edits_at_once_run_one_after_the_other_in_their_order(clean_stack: Stack) -> None:
    stack, job = clean_stack, made(clean_stack)
    texts = ["pan right.", "zoom out.", "pan up."]
    ids = [reelqueue(stack, "say", job.id, text)[1][0]["job_id"] for text in texts]
    for job_id in ids:
        assert stack.wait_for(job_id, State.SUCCEEDED, State.FAILED, State.HELD).message == ""
    messages = stack.messages_of(job)[1:]
    assert [message["text"] for message in messages] == texts
    assert not any(message["overlapping"] for message in messages)


def test_an_edit_with_a_logo_brings_it_to_the_project(clean_stack: Stack) -> None:
    stack, job = clean_stack, made(clean_stack)
    logo = stack.image("our-logo.png")
    code, (record,), _ = reelqueue(
        stack, "say", job.id, "put the logo in the corner", "--attach", str(logo), "--wait"
    )
    assert (code, record["state"]) == (0, "succeeded")
    last = str(stack.messages_of(job)[-1]["text"])
    assert last.startswith("put the logo in the corner. Use the attached files: our-logo-")
    assert last.endswith(".png as the logo.")


def test_what_needs_no_message_is_answered_at_once_and_costs_nothing(clean_stack: Stack) -> None:
    stack, job = clean_stack, made(clean_stack)
    paid = len(stack.sandbox.ledger()["messages"])
    logo = stack.image("mark.png")
    for text, action, part in (
        ("请导出视频", "export", ".mp4"),
        ("how many credits do I have left?", "credits", "credits available"),
        ("状态", "state", "Timeline ("),
    ):
        code, (answer,), _ = reelqueue(stack, "say", job.id, text)
        assert (code, answer["action"]) == (0, action)
        assert part in answer["text"]
    for _ in range(2):
        code, (answer,), _ = reelqueue(stack, "say", job.id, "上传", "--attach", str(logo))
        assert (code, answer["action"]) == (0, "upload")
    ledger = stack.sandbox.ledger()
    assert len(ledger["messages"]) == paid
    names = [u["name"] for u in ledger["uploads"] if u["session_id"] == job.fact("session_id")]
    assert names[1:] == ["mark.png"], "the same file is uploaded once"


def test_bad_input_is_refused_in_words(clean_stack: Stack) -> None:
    stack, job = clean_stack, made(clean_stack)
    for arguments, part in (
        (("nobody", "pan left"), "There is no job nobody"),
        ((job.id, "upload"), "--attach FILE"),
        ((job.id, "  "), "Give a text"),
        ((job.id, "pan left", "--attach", "gone.png"), "no file gone.png"),
    ):
        code, records, told = reelqueue(stack, "say", *arguments)
        assert (code, records) == (2, [])
        assert part in told
        assert "Traceback" not in told


def test_an_edit_behind_an_unknown_outcome_waits_for_the_decision(clean_stack: Stack) -> None:
    stack, job = clean_stack, made(clean_stack)
    stack.sandbox.inject_faults({"call": "message", "action": "break", "then": "stay", "at": 0.05})
    first = reelqueue(stack, "say", job.id, "pan left")[1][0]["job_id"]
    second = reelqueue(stack, "say", job.id, "pan right")[1][0]["job_id"]
    assert stack.wait_for(first, State.HELD).reason is Reason.OUTCOME_UNKNOWN
    blocked = stack.wait_for(second, State.HELD)
    assert (blocked.reason, blocked.paid_messages) == (Reason.BLOCKED, 0)
    assert first in blocked.message
    assert stack.ledger.release(first, mode="as_done", who="tests") == "OK"
    wait_until(lambda: stack.job(first).fact("as_done") is None, "the draft to be read")
    assert stack.wait_for(first, State.HELD).paid_messages == 1, "nothing of it is in the draft"
    assert stack.ledger.cancel(first) == "CANCELLED"
    assert stack.wait_for(second, State.SUCCEEDED).paid_messages == 1


def test_an_export_that_was_held_goes_on_when_it_is_asked_for(clean_stack: Stack) -> None:
    stack = clean_stack
    stack.sandbox.inject_faults({"call": "export", "action": "refuse", "code": 402})
    job_id = stack.submit(stack.image())
    assert stack.wait_for(job_id, State.HELD).reason is Reason.PLAN
    code, (answer,), _ = reelqueue(stack, "say", job_id, "export the video")
    assert (code, answer["action"]) == (0, "export")
    assert "continues" in answer["text"]
    assert stack.wait_for(job_id, State.SUCCEEDED).paid_messages == 1


def test_an_edit_whose_project_is_gone_is_held_and_never_starts_afresh(clean_stack: Stack) -> None:
    """Given a project that the API no longer knows, no other is opened in its place."""
    stack, job = clean_stack, made(clean_stack)
    sessions = len(stack.sandbox.ledger()["sessions"])
    stack.sandbox.inject_faults(
        {"call": "state", "action": "refuse", "code": 1002, "session": job.fact("session_id")}
    )
    edit = stack.wait_for(
        reelqueue(stack, "say", job.id, "pan left")[1][0]["job_id"], State.HELD, State.SUCCEEDED
    )
    assert (edit.reason, edit.paid_messages) == (Reason.SESSION_LOST, 0)
    assert "Submit the image again" in edit.remedy
    assert len(stack.sandbox.ledger()["sessions"]) == sessions
    code, _, told = reelqueue(stack, "say", edit.id, "pan right")
    assert (code, "is gone" in told) == (2, True)


def test_the_reply_speaks_of_no_button(clean_stack: Stack) -> None:
    stack = clean_stack
    stack.sandbox.inject_faults({"call": "message", "action": "gui"})
    reply = str(made(stack).fact("reply"))
    assert "Your clip is ready: 1 seconds with Lo-fi music.\n\nTimeline (" in reply
    assert not {"Click", "panel", "点击"} & set(reply.replace("，", " ").split())
    assert "Export" not in reply
