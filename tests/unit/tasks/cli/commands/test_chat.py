"""``reelqueue chat``, with a thread that finishes jobs as a worker would."""

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
from tests.support.waiting import refusing_port, wait_until
from tests.unit.tasks.conftest import ProducerHarness, RunCommand
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
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
    """Finish the next jobs in turn. The ids are in the list when the block has ended."""
    register_worker(harness.producer.ledger, "w", slots=2, seconds=100)
    ended: list[str] = []
    worker_thread = threading.Thread(
        target=lambda: ended.extend(map(harness.finish_next_step, ends))
    )
    worker_thread.start()
    try:
        yield ended
    finally:
        worker_thread.join()


def jobs(harness: ProducerHarness) -> list[str]:
    return recent_ids(harness.producer.ledger, 10)


def prompts(harness: ProducerHarness) -> list[str]:
    """Return the prompts of all jobs, oldest first."""
    return [queries.get(harness.producer, job_id).prompt for job_id in reversed(jobs(harness))]


def test_an_image_becomes_a_clip_that_is_edited_and_exported(
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


@pytest.mark.parametrize("end", ["exit", "QUIT", ""])
def test_without_an_image_it_asks_for_one(
    run_command: RunCommand, harness: ProducerHarness, end: str
) -> None:
    harness.picture("cat.png")
    typed = f"pan left\nupload\n\nexport\nupload cat.png\nstatus\n{end}"
    answer = run_command("chat", stdin=typed)
    assert (answer.code, jobs(harness)) == (0, [])
    assert answer.err == "Nothing was submitted.\n"
    first_words = [line.split()[0] for line in answer.out.splitlines()]
    assert first_words == ["Give", "`exit`", "Give", "Give", "There", "What", "An", "There"]


def test_image_and_prompt_can_be_on_one_line(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    with worker(harness, DONE):
        answer = run_command("chat", stdin=f"animate {URL} slowly\n")
    assert prompts(harness) == ["animate a.jpg slowly"]
    assert answer.out.splitlines()[2] == "It costs about 100 credits."


def test_bad_images_exit_with_2_before_the_first_prompt(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    (harness.folder / "text.jpg").write_text("no picture")
    answer = run_command("chat", "gone.jpg", "text.jpg", stdin="\n")
    assert (answer.code, answer.out, jobs(harness)) == (2, "", [])
    assert ["gone.jpg" in answer.err, "text.jpg" in answer.err] == [True, True]


def test_invalid_lines_are_answered_and_submit_nothing(
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


def test_a_question_of_the_agent_is_answered_by_an_edit(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    asked = Commit(
        State.HELD,
        reason=Reason.QUESTION,
        message="The agent asked a second question: Which length?",
        facts={"session_id": "s", "reply": "Which length?"},
    )
    with worker(harness, asked, DONE) as ended:
        answer = run_command("chat", URL, stdin="\n10 seconds\n")
    assert prompts(harness)[1] == "10 seconds"
    assert queries.get(harness.producer, ended[1]).parent_id == ended[0]
    lines = answer.out.splitlines()
    asks = lines.index("The agent asked a second question: Which length?")
    assert lines[asks + 1] == "Answer it here. It costs about 100 credits."


@pytest.mark.parametrize("end", [State.FAILED, State.CANCELLED])
def test_after_a_failed_or_cancelled_edit_the_previous_clip_is_edited(
    run_command: RunCommand, harness: ProducerHarness, end: State
) -> None:
    reason = Reason.BAD_REQUEST if end is State.FAILED else None
    with worker(harness, DONE, Commit(end, reason=reason, message="No."), DONE) as ended:
        run_command("chat", URL, stdin="\npan left\npan right\n")
    assert queries.get(harness.producer, ended[2]).parent_id == ended[0]


def test_after_a_failed_image_another_can_be_given(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    bad = Commit(State.FAILED, reason=Reason.BAD_IMAGE, message="It is torn.", remedy="Mend it.")
    with worker(harness, bad, DONE):
        answer = run_command("chat", URL, stdin=f"\n{URL}\nzoom in\n")
    assert prompts(harness)[1] == "zoom in"
    assert "bad_image: It is torn." in answer.out


def test_with_several_images_the_last_clip_is_edited(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    bad = Commit(State.FAILED, reason=Reason.BAD_IMAGE, message="It is torn.")
    with worker(harness, DONE, bad, DONE) as ended:
        answer = run_command("chat", URL, "https://example.org/b.jpg", stdin="zoom\npan left\n")
    assert prompts(harness) == ["zoom", "zoom", "pan left"]
    assert queries.get(harness.producer, ended[2]).parent_id == ended[0]
    assert "about 200 credits" in answer.out
    assert f"The conversation continues with {URL}." in answer.out


def test_ctrl_c_stops_waiting_and_the_job_continues(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    """After an interrupt the command says that the job continues, and reads the next line."""
    job_id = ""

    def pings() -> int:
        """Return the number of PING commands: each poll begins with one."""
        return int(harness.producer.ledger.redis.info("commandstats")["cmdstat_ping"]["calls"])

    ended = threading.Event()

    def still_waiting() -> bool:
        before = pings()
        wait_until(lambda: ended.is_set() or pings() > before + 1, "a second poll")
        return not ended.is_set()

    def interrupt() -> None:
        nonlocal job_id
        job_id = harness.finish_next_step(
            Commit(State.RENDERING, delay=100, facts={"session_id": "s"})
        )
        # Python drops an interrupt that arrives while the garbage collector runs a callback.
        while still_waiting():
            os.kill(os.getpid(), signal.SIGINT)

    worker_thread = threading.Thread(target=interrupt)
    worker_thread.start()
    answer = run_command("chat", URL, stdin="\nstatus\n")
    ended.set()
    worker_thread.join()
    assert answer.code == 0
    assert f"The job continues: `reelqueue watch {job_id}`" in answer.out
    assert "rendering: The clip is being rendered." in answer.out
    assert "No worker is running" in answer.out


def test_input_at_a_terminal_during_a_wait_is_discarded(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    """It would be taken as an edit and paid for. Input at the next prompt is read."""
    assert run_command("chat", stdin="").code == 0, "the command uses the harness's settings"
    terminal, child_end = pty.openpty()
    output = ""

    def read_until(part: str) -> None:
        nonlocal output
        while part not in output:
            output += os.read(terminal, 4096).decode()
        output = output.partition(part)[2]

    chat = subprocess.Popen(
        [sys.executable, "-m", "tasks.cli", "chat", URL],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
        stdin=child_end,
        stdout=child_end,
        stderr=child_end,
    )
    os.close(child_end)
    try:
        read_until("> ")
        os.write(terminal, b"zoom in\n")
        harness.finish_next_step(Commit(State.RENDERING))
        read_until("rendering")
        os.write(terminal, b"pan left\n")
        harness.finish_next_step(DONE)
        read_until("video")
        read_until("> ")
        os.write(terminal, b"quit\n")
        assert chat.wait(120) == 0
    finally:
        chat.kill()
        chat.wait()
        os.close(terminal)
    assert prompts(harness) == ["zoom in"]


def test_unreadable_input_and_missing_redis_exit_with_a_message(
    run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = run_command("chat", stdin=b"\xff\xfe\n")
    assert (answer.code, "not UTF-8" in answer.err) == (2, True)
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{refusing_port()}/0")
    answer = run_command("chat", URL, stdin="\n")
    assert (answer.code, answer.out) == (3, "")
    assert "reelqueue valkey" in answer.err


def test_small_talk_before_a_clip_costs_nothing(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    answer = run_command("chat", URL, stdin="help\nhello\n?\ncancel\n")
    assert (answer.code, jobs(harness)) == (0, [])
    assert answer.out.count("Nothing was sent.") == 3


def test_a_job_is_cancelled_only_after_a_yes(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    held = Commit(State.HELD, reason=Reason.CREDITS, message="m", resume=State.PREPARING)
    with worker(harness, held):
        answer = run_command("chat", URL, stdin="\ncancel\nno\ncancel\nyes\n")
    assert "The job continues." in answer.out
    assert "The job is cancelled." in answer.out
    assert harness.producer.ledger.counts()[0] == {State.CANCELLED: 1}


def test_a_held_job_that_has_paid_is_not_said_to_have_ended(
    run_command: RunCommand, harness: ProducerHarness
) -> None:
    held = Commit(
        State.HELD, reason=Reason.PLAN, message="m", resume=State.RENDERING, facts={"paid": "1"}
    )
    with worker(harness, held) as ended:
        answer = run_command("chat", URL, stdin="\ncancel\nyes\n")
    assert "has ended already" not in answer.out
    assert f"`reelqueue cancel {ended[0]} --yes`" in answer.out
    assert harness.producer.ledger.counts()[0] == {State.HELD: 1}
