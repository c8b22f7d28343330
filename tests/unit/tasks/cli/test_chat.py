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

from tasks.producer import queries
from tests.support.ledger_access import recent_ids
from tests.support.processes import ROOT
from tests.support.waiting import free_port, wait_until
from tests.unit.tasks.conftest import ProducerHarness, RunCommand
from worker.ledger.ledger import Commit
from worker.ledger.model.states import Reason, State
from worker.runtime.worker_registry import register_worker

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
def worker(harness: ProducerHarness, *ends: Commit) -> Iterator[list[str]]:
    """Somebody ends the next jobs, one after the other; their ids, once it is over."""
    register_worker(harness.producer.ledger, "w", slots=2, seconds=100)
    ended: list[str] = []
    hands = threading.Thread(target=lambda: ended.extend(map(harness.finish_next_step, ends)))
    hands.start()
    try:
        yield ended
    finally:
        hands.join()


def jobs(harness: ProducerHarness) -> list[str]:
    return recent_ids(harness.producer.ledger, 10)


def prompts(harness: ProducerHarness) -> list[str]:
    """What was asked for, the oldest first."""
    return [queries.get(harness.producer, job_id).prompt for job_id in reversed(jobs(harness))]


def test_a_picture_becomes_a_clip_and_is_spoken_of(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    harness.picture("cat.png")
    harness.picture("logo.png")
    with worker(harness, DONE, DONE) as ended:
        answer = run_command(
            "chat", "cat.png", stdin="\n\nadd logo.png, softly\nexport\nstatus\nexit\n"
        )
    assert (answer.code, len(ended)) == (0, 2)
    assert prompts(harness) == [
        "extend this image into a 10-second video with smooth motion",
        "add logo.png softly",
    ]
    first, second = (harness.producer.ledger.job(job_id) for job_id in ended)
    assert first is not None
    assert second is not None
    assert (second.parent_id, len(second.payload["attach"])) == (first.id, 1)
    lines = answer.out.splitlines()
    assert lines[0].startswith("What should the clip of cat.png show?")
    assert "about 100 credits" in lines[0]
    assert lines.count("It costs about 100 credits.") == 1, "before the edit"
    path = str(harness.folder / "output" / "single" / "a.mp4")
    assert lines.count("Your clip is ready.") == 2
    assert lines.count(f"  clip      {path}") == 2
    assert f"The clip is ready: {path}" in lines
    assert "succeeded: Done." in lines
    assert "No worker" not in answer.out
    assert ended[1] in answer.err


@pytest.mark.parametrize("left", ["exit", "QUIT", ""])
def test_without_a_picture_it_greets_and_takes_one(
    run_command: RunCommand, harness: ProducerHarness, left: str
) -> None:
    harness.picture("cat.png")
    typed = f"pan left\nupload\n\nexport\nupload cat.png\nstatus\n{left}"
    answer = run_command("chat", stdin=typed)
    assert (answer.code, jobs(harness)) == (0, [])
    assert answer.err == "Nothing was submitted.\n"
    told = [line.split()[0] for line in answer.out.splitlines()]
    assert told == ["Give", "`exit`", "Give", "Give", "There", "What", "An", "There"]


def test_a_picture_and_its_words_may_come_in_one_line(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    with worker(harness, DONE):
        answer = run_command("chat", stdin=f"animate {URL} slowly\n")
    assert prompts(harness) == ["animate a.jpg slowly"]
    assert answer.out.splitlines()[2] == "It costs about 100 credits."


def test_bad_pictures_end_it_before_anything_is_asked(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    (harness.folder / "text.jpg").write_text("no picture")
    answer = run_command("chat", "gone.jpg", "text.jpg", stdin="\n")
    assert (answer.code, answer.out, jobs(harness)) == (2, "", [])
    assert ["gone.jpg" in answer.err, "text.jpg" in answer.err] == [True, True]


def test_what_is_refused_is_told_and_costs_nothing(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    (harness.folder / "text.jpg").write_text("no picture")
    refused = ["gone.jpg", "add gone.mp3", "upload", "text.jpg", "x" * 10_001, "put text.jpg in"]
    with worker(harness, DONE):
        answer = run_command("chat", URL, stdin="\n".join(["", *refused, ""]))
    assert (answer.code, len(jobs(harness))) == (0, 1)
    for part in (
        *("no file gone.jpg. Nothing was sent.", "no file gone.mp3. Nothing was sent."),
        *('as in "upload logo.png"', "text.jpg is no", "prompt: ", "attach: text.jpg"),
    ):
        assert part in answer.out
    assert "Traceback" not in answer.out + answer.err


def test_a_question_is_answered_by_a_further_message(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    asked = Commit(
        State.HELD,
        reason=Reason.QUESTION,
        message="The agent asks again: Which length?",
        facts={"session_id": "s", "reply": "Which length?"},
    )
    with worker(harness, asked, DONE) as ended:
        answer = run_command("chat", URL, stdin="\n10 seconds\n")
    assert prompts(harness)[1] == "10 seconds"
    assert queries.get(harness.producer, ended[1]).parent_id == ended[0]
    lines = answer.out.splitlines()
    asks = lines.index("The agent asks again: Which length?")
    assert lines[asks + 1] == "Answer it here. It costs about 100 credits."


@pytest.mark.parametrize("end", [State.FAILED, State.CANCELLED])
def test_after_an_edit_that_came_to_nothing_the_clip_before_it_is_meant(
    run_command: RunCommand, harness: ProducerHarness, end: State
) -> None:
    reason = Reason.BAD_REQUEST if end is State.FAILED else None
    with worker(harness, DONE, Commit(end, reason=reason, message="No."), DONE) as ended:
        run_command("chat", URL, stdin="\npan left\npan right\n")
    assert queries.get(harness.producer, ended[2]).parent_id == ended[0]


def test_after_a_picture_that_failed_another_is_taken(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    bad = Commit(State.FAILED, reason=Reason.BAD_IMAGE, message="It is torn.", remedy="Mend it.")
    with worker(harness, bad, DONE):
        answer = run_command("chat", URL, stdin=f"\n{URL}\nzoom in\n")
    assert prompts(harness)[1] == "zoom in"
    assert "bad_image: It is torn." in answer.out


def test_with_several_pictures_the_last_clip_is_meant(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    bad = Commit(State.FAILED, reason=Reason.BAD_IMAGE, message="It is torn.")
    with worker(harness, DONE, bad, DONE) as ended:
        answer = run_command("chat", URL, "https://example.org/b.jpg", stdin="zoom\npan left\n")
    assert prompts(harness) == ["zoom", "zoom", "pan left"]
    assert queries.get(harness.producer, ended[2]).parent_id == ended[0]
    assert "about 200 credits" in answer.out
    assert f"The conversation continues with {URL}." in answer.out


def test_ctrl_c_stops_the_wait_and_not_the_job(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    """Interrupted while it waits, it says that the job goes on, and hears the next line."""
    job_id = ""

    def pings() -> int:
        """Each look begins with one."""
        return int(harness.producer.ledger.redis.info("commandstats")["cmdstat_ping"]["calls"])

    ended = threading.Event()

    def waits_on() -> bool:
        before = pings()
        wait_until(lambda: ended.is_set() or pings() > before + 1, "it to look a second time")
        return not ended.is_set()

    def interrupt() -> None:
        nonlocal job_id
        job_id = harness.finish_next_step(
            Commit(State.RENDERING, delay=100, facts={"session_id": "s"})
        )
        # Python drops an interrupt that arrives while the garbage collector runs a callback.
        while waits_on():
            os.kill(os.getpid(), signal.SIGINT)

    hands = threading.Thread(target=interrupt)
    hands.start()
    answer = run_command("chat", URL, stdin="\nstatus\n")
    ended.set()
    hands.join()
    assert answer.code == 0
    assert f"The job continues: `reelqueue watch {job_id}`" in answer.out
    assert "rendering: The clip is being rendered." in answer.out
    assert "No worker is running" in answer.out


def test_what_is_typed_at_a_terminal_while_it_waits_is_not_heard(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    """Nobody asked for it, and it would be paid for; what is typed at the next prompt is heard."""
    assert run_command("chat", stdin="").code == 0, "the environment is the harness's"
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
        harness.finish_next_step(Commit(State.RENDERING))
        read_until("rendering")
        os.write(ours, b"pan left\n")
        harness.finish_next_step(DONE)
        read_until("video")
        read_until("> ")
        os.write(ours, b"quit\n")
        assert talk.wait(20) == 0
    finally:
        talk.kill()
        talk.wait()
        os.close(ours)
    assert prompts(harness) == ["zoom in"]


def test_what_is_not_there_is_told_by_code_and_words(
    run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = run_command("chat", stdin=b"\xff\xfe\n")
    assert (answer.code, "not UTF-8" in answer.err) == (2, True)
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    answer = run_command("chat", URL, stdin="\n")
    assert (answer.code, answer.out) == (3, "")
    assert "reelqueue valkey" in answer.err
