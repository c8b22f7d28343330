"""Follow-up edits in the session of a finished job, and texts that need no message."""

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


def finished_job(stack: Stack) -> Job:
    """Submit a job and wait until it has succeeded."""
    job_id = stack.submit(stack.image())
    job = stack.wait_for(job_id, State.SUCCEEDED, State.FAILED, State.HELD)
    assert (job.state, job.message) == (State.SUCCEEDED, "")
    return job


def digest(stack: Stack, job: Job) -> str:
    clip = json.loads(str(job.fact("clip")))
    return hashlib.sha256((stack.folder / "output" / Path(clip["key"])).read_bytes()).hexdigest()


def test_an_edit_makes_a_second_clip_in_the_same_session(clean_stack: Stack) -> None:
    stack, job = clean_stack, finished_job(clean_stack)
    code, records, errors = reelqueue(
        stack, "say", job.id, "make it 2 seconds, pan left", "--key", "edit-1", "--wait"
    )
    assert (code, errors) == (0, "")
    (record,) = records
    assert (record["parent_id"], record["state"]) == (job.id, "succeeded")
    edit = stack.job(record["job_id"])
    assert edit.fact("session_id") == job.fact("session_id")
    assert digest(stack, edit) != digest(stack, job)
    assert [m["text"] for m in stack.messages_of(job)][1:] == ["make it 2 seconds, pan left."]
    assert len(stack.renders_of(job)) == 2
    uploads = [u for u in stack.sandbox.ledger()["uploads"]
               if u["session_id"] == job.fact("session_id")]  # fmt: skip
    assert len(uploads) == 1, "the picture is not uploaded again"
    code, (again,), _ = reelqueue(
        stack, "say", job.id, "make it 2 seconds, pan left", "--key", "edit-1"
    )
    assert (code, again["duplicate"], again["job_id"]) == (0, True, edit.id)
    code, _, errors = reelqueue(stack, "say", job.id, "make it 3 seconds", "--key", "edit-1")
    assert code == 2
    assert "edit-1" in errors


def test_edits_run_one_after_another_in_their_order(clean_stack: Stack) -> None:
    stack, job = clean_stack, finished_job(clean_stack)
    texts = ["pan right.", "zoom out.", "pan up."]
    ids = [reelqueue(stack, "say", job.id, text)[1][0]["job_id"] for text in texts]
    for job_id in ids:
        assert stack.wait_for(job_id, State.SUCCEEDED, State.FAILED, State.HELD).message == ""
    messages = stack.messages_of(job)[1:]
    assert [message["text"] for message in messages] == texts
    assert not any(message["overlapping"] for message in messages)


def test_an_edit_uploads_its_logo_to_the_session(clean_stack: Stack) -> None:
    stack, job = clean_stack, finished_job(clean_stack)
    logo = stack.image("our-logo.png")
    code, (record,), _ = reelqueue(
        stack, "say", job.id, "put the logo in the corner", "--attach", str(logo), "--wait"
    )
    assert (code, record["state"]) == (0, "succeeded")
    last = str(stack.messages_of(job)[-1]["text"])
    assert last.startswith("put the logo in the corner. Use the attached files: our-logo-")
    assert last.endswith(".png as the logo.")


def test_exports_credits_status_and_uploads_are_answered_without_a_message(
    clean_stack: Stack,
) -> None:
    stack, job = clean_stack, finished_job(clean_stack)
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


def test_invalid_input_is_refused_with_a_message(clean_stack: Stack) -> None:
    stack, job = clean_stack, finished_job(clean_stack)
    for arguments, part in (
        (("nobody", "pan left"), "There is no job nobody"),
        ((job.id, "upload"), "--attach FILE"),
        ((job.id, "  "), "Give a text"),
        ((job.id, "pan left", "--attach", "gone.png"), "no file gone.png"),
    ):
        code, records, errors = reelqueue(stack, "say", *arguments)
        assert (code, records) == (2, [])
        assert part in errors
        assert "Traceback" not in errors


def test_an_edit_after_an_unknown_outcome_is_held_until_it_is_decided(clean_stack: Stack) -> None:
    stack, job = clean_stack, finished_job(clean_stack)
    stack.sandbox.inject_faults({"call": "message", "action": "break", "then": "stay", "at": 0.05})
    first = reelqueue(stack, "say", job.id, "pan left")[1][0]["job_id"]
    second = reelqueue(stack, "say", job.id, "pan right")[1][0]["job_id"]
    assert stack.wait_for(first, State.HELD).reason is Reason.OUTCOME_UNKNOWN
    blocked = stack.wait_for(second, State.HELD)
    assert (blocked.reason, blocked.paid_messages) == (Reason.BLOCKED, 0)
    assert first in blocked.message
    assert stack.ledger.release(first, mode="as_done", who="tests") == "OK"
    wait_until(lambda: stack.job(first).fact("as_done") is None, "the state to be read")
    assert stack.wait_for(first, State.HELD).paid_messages == 1, "the draft has no result of it"
    assert stack.ledger.cancel(first) == "CANCELLED"
    assert stack.wait_for(second, State.SUCCEEDED).paid_messages == 1


def test_the_text_export_releases_a_held_export(clean_stack: Stack) -> None:
    stack = clean_stack
    stack.sandbox.inject_faults({"call": "export", "action": "refuse", "code": 402})
    job_id = stack.submit(stack.image())
    assert stack.wait_for(job_id, State.HELD).reason is Reason.PLAN
    code, (answer,), _ = reelqueue(stack, "say", job_id, "export the video")
    assert (code, answer["action"]) == (0, "export")
    assert "continues" in answer["text"]
    assert stack.wait_for(job_id, State.SUCCEEDED).paid_messages == 1


def test_an_edit_whose_session_is_lost_is_held_and_opens_no_other(clean_stack: Stack) -> None:
    stack, job = clean_stack, finished_job(clean_stack)
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
    code, _, errors = reelqueue(stack, "say", edit.id, "pan right")
    assert (code, "is gone" in errors) == (2, True)


def test_the_reply_mentions_no_controls_of_a_user_interface(clean_stack: Stack) -> None:
    stack = clean_stack
    stack.sandbox.inject_faults({"call": "message", "action": "gui"})
    reply = str(finished_job(stack).fact("reply"))
    assert "Your clip is ready: 1 seconds with Lo-fi music.\n\nTimeline (" in reply
    assert not {"Click", "panel", "点击"} & set(reply.replace("，", " ").split())
    assert "Export" not in reply
