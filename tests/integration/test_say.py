"""Further edits in a finished job's session, and what is answered without one."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import House
from tests.support.commands import run_reelqueue
from tests.support.waiting import wait_until
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import Reason, State

pytestmark = pytest.mark.integration


def reelqueue(house: House, *arguments: str) -> tuple[int, list[dict[str, Any]], str]:
    """Run a command on this house: exit code, records, and the standard error output."""
    result = run_reelqueue(*arguments, "--json", env=house.env)
    return result.code, result.records, result.err


def made(house: House) -> Job:
    """A job whose clip is there."""
    job_id = house.submit(house.image())
    job = house.wait_for(job_id, State.SUCCEEDED, State.FAILED, State.HELD)
    assert (job.state, job.message) == (State.SUCCEEDED, "")
    return job


def digest(house: House, job: Job) -> str:
    clip = json.loads(str(job.fact("clip")))
    return hashlib.sha256((house.folder / "output" / Path(clip["key"])).read_bytes()).hexdigest()


def test_an_edit_makes_a_second_clip_in_the_same_project(calm_house: House) -> None:
    house, job = calm_house, made(calm_house)
    code, records, told = reelqueue(
        house, "say", job.id, "make it 2 seconds, pan left", "--key", "edit-1", "--wait"
    )
    assert (code, told) == (0, "")
    (record,) = records
    assert (record["parent_id"], record["state"]) == (job.id, "succeeded")
    edit = house.job(record["job_id"])
    assert edit.fact("session_id") == job.fact("session_id")
    assert digest(house, edit) != digest(house, job)
    assert [m["text"] for m in house.messages_of(job)][1:] == ["make it 2 seconds, pan left."]
    assert len(house.renders_of(job)) == 2
    uploads = [u for u in house.sandbox.ledger()["uploads"]
               if u["session_id"] == job.fact("session_id")]  # fmt: skip
    assert len(uploads) == 1, "the picture is there already"
    code, (again,), _ = reelqueue(
        house, "say", job.id, "make it 2 seconds, pan left", "--key", "edit-1"
    )
    assert (code, again["duplicate"], again["job_id"]) == (0, True, edit.id)
    code, _, told = reelqueue(house, "say", job.id, "make it 3 seconds", "--key", "edit-1")
    assert code == 2
    assert "edit-1" in told


def test_two_edits_at_once_run_one_after_the_other_in_their_order(calm_house: House) -> None:
    house, job = calm_house, made(calm_house)
    texts = ["pan right.", "zoom out.", "pan up."]
    ids = [reelqueue(house, "say", job.id, text)[1][0]["job_id"] for text in texts]
    for job_id in ids:
        assert house.wait_for(job_id, State.SUCCEEDED, State.FAILED, State.HELD).message == ""
    messages = house.messages_of(job)[1:]
    assert [message["text"] for message in messages] == texts
    assert not any(message["overlapping"] for message in messages)


def test_an_edit_with_a_logo_brings_it_to_the_project(calm_house: House) -> None:
    house, job = calm_house, made(calm_house)
    logo = house.image("our-logo.png")
    code, (record,), _ = reelqueue(
        house, "say", job.id, "put the logo in the corner", "--attach", str(logo), "--wait"
    )
    assert (code, record["state"]) == (0, "succeeded")
    last = str(house.messages_of(job)[-1]["text"])
    assert last.startswith("put the logo in the corner. Use the attached files: our-logo-")
    assert last.endswith(".png as the logo.")


def test_what_needs_no_message_is_answered_at_once_and_costs_nothing(calm_house: House) -> None:
    house, job = calm_house, made(calm_house)
    paid = len(house.sandbox.ledger()["messages"])
    logo = house.image("mark.png")
    for text, action, part in (
        ("请导出视频", "export", ".mp4"),
        ("how many credits do I have left?", "credits", "credits available"),
        ("状态", "state", "Timeline ("),
    ):
        code, (answer,), _ = reelqueue(house, "say", job.id, text)
        assert (code, answer["action"]) == (0, action)
        assert part in answer["text"]
    for _ in range(2):
        code, (answer,), _ = reelqueue(house, "say", job.id, "上传", "--attach", str(logo))
        assert (code, answer["action"]) == (0, "upload")
    ledger = house.sandbox.ledger()
    assert len(ledger["messages"]) == paid
    names = [u["name"] for u in ledger["uploads"] if u["session_id"] == job.fact("session_id")]
    assert names[1:] == ["mark.png"], "the same file is uploaded once"


def test_bad_input_is_refused_in_words(calm_house: House) -> None:
    house, job = calm_house, made(calm_house)
    for arguments, part in (
        (("nobody", "pan left"), "There is no job nobody"),
        ((job.id, "upload"), "--attach FILE"),
        ((job.id, "  "), "Give a text"),
        ((job.id, "pan left", "--attach", "gone.png"), "no file gone.png"),
    ):
        code, records, told = reelqueue(house, "say", *arguments)
        assert (code, records) == (2, [])
        assert part in told
        assert "Traceback" not in told


def test_an_edit_behind_an_unknown_outcome_waits_for_the_decision(calm_house: House) -> None:
    house, job = calm_house, made(calm_house)
    house.sandbox.misbehave({"call": "message", "action": "break", "then": "stay", "at": 0.05})
    first = reelqueue(house, "say", job.id, "pan left")[1][0]["job_id"]
    second = reelqueue(house, "say", job.id, "pan right")[1][0]["job_id"]
    assert house.wait_for(first, State.HELD).reason is Reason.OUTCOME_UNKNOWN
    blocked = house.wait_for(second, State.HELD)
    assert (blocked.reason, blocked.paid_messages) == (Reason.BLOCKED, 0)
    assert first in blocked.message
    assert house.ledger.release(first, mode="as_done", who="tests") == "OK"
    wait_until(lambda: house.job(first).fact("as_done") is None, "the draft to be read")
    assert house.wait_for(first, State.HELD).paid_messages == 1, "nothing of it is in the draft"
    assert house.ledger.cancel(first) == "CANCELLED"
    assert house.wait_for(second, State.SUCCEEDED).paid_messages == 1


def test_an_export_that_was_held_goes_on_when_it_is_asked_for(calm_house: House) -> None:
    house = calm_house
    house.sandbox.misbehave({"call": "export", "action": "refuse", "code": 402})
    job_id = house.submit(house.image())
    assert house.wait_for(job_id, State.HELD).reason is Reason.PLAN
    code, (answer,), _ = reelqueue(house, "say", job_id, "export the video")
    assert (code, answer["action"]) == (0, "export")
    assert "continues" in answer["text"]
    assert house.wait_for(job_id, State.SUCCEEDED).paid_messages == 1


def test_an_edit_whose_project_is_gone_is_held_and_never_starts_afresh(calm_house: House) -> None:
    """Given a project that the API no longer knows, no other is opened in its place."""
    house, job = calm_house, made(calm_house)
    sessions = len(house.sandbox.ledger()["sessions"])
    house.sandbox.misbehave(
        {"call": "state", "action": "refuse", "code": 1002, "session": job.fact("session_id")}
    )
    edit = house.wait_for(
        reelqueue(house, "say", job.id, "pan left")[1][0]["job_id"], State.HELD, State.SUCCEEDED
    )
    assert (edit.reason, edit.paid_messages) == (Reason.SESSION_LOST, 0)
    assert "Submit the image again" in edit.remedy
    assert len(house.sandbox.ledger()["sessions"]) == sessions
    code, _, told = reelqueue(house, "say", edit.id, "pan right")
    assert (code, "is gone" in told) == (2, True)


def test_the_reply_speaks_of_no_button(calm_house: House) -> None:
    house = calm_house
    house.sandbox.misbehave({"call": "message", "action": "gui"})
    reply = str(made(house).fact("reply"))
    assert "Your clip is ready: 1 seconds with Lo-fi music.\n\nTimeline (" in reply
    assert not {"Click", "panel", "点击"} & set(reply.replace("，", " ").split())
    assert "Export" not in reply
