"""The conversation in a terminal, with hands that do the worker's part."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.processes import ROOT
from tests.support.waiting import free_port, wait_until
from tests.unit.tasks.conftest import Ask, Desk
from worker.ledger.ledger import Commit
from worker.ledger.model.states import Reason, State
from worker.runtime.worker_registry import announce

CLIP = {
    "key": "single/a.mp4",
    "bytes": 10,
    "sha256": "0" * 64,
    "width": 1920,
    "height": 1080,
    "seconds": 9.5,
    "codec": "h264",
}
DONE = Commit(
    State.SUCCEEDED,
    facts={"clip": json.dumps(CLIP), "reply": "Your clip is ready.", "session_id": "s"},
)
URL = "https://example.org/a.jpg"


@contextmanager
def worker(desk: Desk, *ends: Commit) -> Iterator[list[str]]:
    """Somebody ends the next jobs, one after the other; their ids, once it is over."""
    announce(desk.producer.ledger, "w", slots=2, seconds=100)
    ended: list[str] = []
    hands = threading.Thread(target=lambda: ended.extend(map(desk.end_next, ends)))
    hands.start()
    try:
        yield ended
    finally:
        hands.join()


def jobs(desk: Desk) -> list[str]:
    return desk.producer.ledger.recent_ids(10)


def prompts(desk: Desk) -> list[str]:
    """What was asked for, the oldest first."""
    return [desk.producer.get(job_id).prompt for job_id in reversed(jobs(desk))]


def test_a_picture_becomes_a_clip_and_is_spoken_of(ask: Ask, desk: Desk) -> None:
    desk.picture("cat.png")
    desk.picture("logo.png")
    with worker(desk, DONE, DONE) as ended:
        answer = ask("chat", "cat.png", typed="\n\nadd logo.png, softly\nexport\nstatus\nexit\n")
    assert (answer.code, len(ended)) == (0, 2)
    assert prompts(desk) == [
        "extend this image into a 10-second video with smooth motion",
        "add logo.png softly",
    ]
    first, second = (desk.producer.ledger.job(job_id) for job_id in ended)
    assert first is not None
    assert second is not None
    assert (second.parent_id, len(second.payload["attach"])) == (first.id, 1)
    lines = answer.out.splitlines()
    assert lines[0].startswith("What is to become of cat.png?")
    assert "about 100 credits" in lines[0]
    assert lines.count("It costs about 100 credits.") == 1, "before the edit"
    path = str(desk.folder / "output" / "single" / "a.mp4")
    assert lines.count("Your clip is ready.") == 2
    assert lines.count(f"  clip      {path}") == 2
    assert f"The clip is there: {path}" in lines
    assert "succeeded: Done." in lines
    assert "No worker" not in answer.out
    assert ended[1] in answer.err


@pytest.mark.parametrize("left", ["exit", "QUIT", ""])
def test_without_a_picture_it_greets_and_takes_one(ask: Ask, desk: Desk, left: str) -> None:
    desk.picture("cat.png")
    typed = f"pan left\nupload\n\nexport\nupload cat.png\nstatus\n{left}"
    answer = ask("chat", typed=typed)
    assert (answer.code, jobs(desk)) == (0, [])
    assert answer.err == "Nothing was submitted.\n"
    told = [line.split()[0] for line in answer.out.splitlines()]
    assert told == ["Name", "`exit`", "Name", "Name", "There", "What", "An", "There"]


def test_a_picture_and_its_words_may_come_in_one_line(ask: Ask, desk: Desk) -> None:
    with worker(desk, DONE):
        answer = ask("chat", typed=f"animate {URL} slowly\n")
    assert prompts(desk) == ["animate a.jpg slowly"]
    assert answer.out.splitlines()[2] == "It costs about 100 credits."


def test_bad_pictures_end_it_before_anything_is_asked(ask: Ask, desk: Desk) -> None:
    (desk.folder / "text.jpg").write_text("no picture")
    answer = ask("chat", "gone.jpg", "text.jpg", typed="\n")
    assert (answer.code, answer.out, jobs(desk)) == (2, "", [])
    assert ["gone.jpg" in answer.err, "text.jpg" in answer.err] == [True, True]


def test_what_is_refused_is_told_and_costs_nothing(ask: Ask, desk: Desk) -> None:
    (desk.folder / "text.jpg").write_text("no picture")
    refused = ["gone.jpg", "add gone.mp3", "upload", "text.jpg", "x" * 10_001, "put text.jpg in"]
    with worker(desk, DONE):
        answer = ask("chat", URL, typed="\n".join(["", *refused, ""]))
    assert (answer.code, len(jobs(desk))) == (0, 1)
    for part in (
        *("no file gone.jpg. Nothing was sent.", "no file gone.mp3. Nothing was sent."),
        *("as in «upload logo.png»", "text.jpg is no", "prompt: ", "attach: text.jpg"),
    ):
        assert part in answer.out
    assert "Traceback" not in answer.out + answer.err


def test_a_question_is_answered_by_a_further_message(ask: Ask, desk: Desk) -> None:
    asked = Commit(
        State.HELD,
        reason=Reason.QUESTION,
        message="The agent asks again: Which length?",
        facts={"session_id": "s", "reply": "Which length?"},
    )
    with worker(desk, asked, DONE) as ended:
        answer = ask("chat", URL, typed="\n10 seconds\n")
    assert prompts(desk)[1] == "10 seconds"
    assert desk.producer.get(ended[1]).parent_id == ended[0]
    lines = answer.out.splitlines()
    asks = lines.index("The agent asks again: Which length?")
    assert lines[asks + 1] == "Answer it here. It costs about 100 credits."


@pytest.mark.parametrize("end", [State.FAILED, State.CANCELLED])
def test_after_an_edit_that_came_to_nothing_the_clip_before_it_is_meant(
    ask: Ask, desk: Desk, end: State
) -> None:
    reason = Reason.BAD_REQUEST if end is State.FAILED else None
    with worker(desk, DONE, Commit(end, reason=reason, message="No."), DONE) as ended:
        ask("chat", URL, typed="\npan left\npan right\n")
    assert desk.producer.get(ended[2]).parent_id == ended[0]


def test_after_a_picture_that_failed_another_is_taken(ask: Ask, desk: Desk) -> None:
    bad = Commit(State.FAILED, reason=Reason.BAD_IMAGE, message="It is torn.", remedy="Mend it.")
    with worker(desk, bad, DONE):
        answer = ask("chat", URL, typed=f"\n{URL}\nzoom in\n")
    assert prompts(desk)[1] == "zoom in"
    assert "bad_image: It is torn." in answer.out


def test_with_several_pictures_the_last_clip_is_meant(ask: Ask, desk: Desk) -> None:
    bad = Commit(State.FAILED, reason=Reason.BAD_IMAGE, message="It is torn.")
    with worker(desk, DONE, bad, DONE) as ended:
        answer = ask("chat", URL, "https://example.org/b.jpg", typed="zoom\npan left\n")
    assert prompts(desk) == ["zoom", "zoom", "pan left"]
    assert desk.producer.get(ended[2]).parent_id == ended[0]
    assert "about 200 credits" in answer.out
    assert f"What is said now is about {URL}." in answer.out


def test_ctrl_c_stops_the_wait_and_not_the_job(ask: Ask, desk: Desk) -> None:
    """Interrupted while it waits, it says that the job goes on, and hears the next line."""
    job_id = ""

    def pings() -> int:
        """Each look begins with one."""
        return int(desk.producer.ledger.redis.info("commandstats")["cmdstat_ping"]["calls"])

    def interrupt() -> None:
        nonlocal job_id
        job_id = desk.end_next(Commit(State.RENDERING, delay=100, facts={"session_id": "s"}))
        before = pings()
        wait_until(lambda: pings() > before + 1, "it to look a second time")
        os.kill(os.getpid(), signal.SIGINT)

    hands = threading.Thread(target=interrupt)
    hands.start()
    answer = ask("chat", URL, typed="\nstatus\n")
    hands.join()
    assert answer.code == 0
    assert f"it goes on: `reelqueue watch {job_id}`" in answer.out
    assert "rendering: The clip is being rendered." in answer.out
    assert "No worker runs" in answer.out


def test_what_is_typed_at_a_terminal_while_it_waits_is_not_heard(ask: Ask, desk: Desk) -> None:
    """Nobody asked for it, and it would be paid for; what is typed at the next prompt is heard."""
    assert ask("chat", typed="").code == 0, "the environment is the desk's"
    ours, theirs = pty.openpty()
    seen = ""

    def read_until(part: str) -> None:
        nonlocal seen
        while part not in seen:
            seen += os.read(ours, 4096).decode()
        seen = seen.partition(part)[2]

    talk = subprocess.Popen(
        [sys.executable, "-m", "tasks.cli", "chat", URL],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        read_until("> ")
        os.write(ours, b"zoom in\n")
        desk.end_next(Commit(State.RENDERING))
        read_until("rendering")
        os.write(ours, b"pan left\n")
        desk.end_next(DONE)
        read_until("film")
        read_until("> ")
        os.write(ours, b"quit\n")
        assert talk.wait(20) == 0
    finally:
        talk.kill()
        talk.wait()
        os.close(ours)
    assert prompts(desk) == ["zoom in"]


def test_what_is_not_there_is_told_by_code_and_words(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = ask("chat", typed=b"\xff\xfe\n")
    assert (answer.code, "not UTF-8" in answer.err) == (2, True)
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    answer = ask("chat", URL, typed="\n")
    assert (answer.code, answer.out) == (3, "")
    assert "reelqueue valkey" in answer.err
