"""Complete `reelqueue chat` conversations over a pipe, with a worker and the stand-in."""

import subprocess
import sys

import pytest

from tests.support.ledger_access import recent_ids
from tests.support.processes import ROOT
from tests.support.stack import Stack
from worker.ledger.model.jobs import Job

pytestmark = pytest.mark.integration


def chat(stack: Stack, *images: object, stdin: str) -> tuple[int, list[str], str]:
    """Run a chat with these input lines; return its exit code, output lines and error output."""
    done = subprocess.run(
        [sys.executable, "-m", "tasks.cli", "chat", *map(str, images)],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONUTF8": "1", **stack.env},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    return done.returncode, done.stdout.splitlines(), done.stderr


def clips_in(lines: list[str]) -> list[str]:
    return [line.split(maxsplit=1)[1] for line in lines if line.startswith("  clip ")]


def last_jobs(stack: Stack, count: int) -> list[Job]:
    """Return the last jobs, oldest first."""
    return [stack.job(job_id) for job_id in reversed(recent_ids(stack.ledger, count))]


def test_a_conversation_makes_two_clips_and_answers_questions(clean_stack: Stack) -> None:
    """Two messages are paid for a picture, a missing file, an edit with a logo, and questions."""
    stack = clean_stack
    logo = stack.image("our logo.png")
    paid = len(stack.sandbox.ledger()["messages"])
    typed = [
        "a 1-second slow push-in",
        "",
        "gone.png",
        f'put "{logo}" in the corner, 2 seconds',
        "how many credits do I have left?",
        "导出",
        "status",
        "exit",
        "this line is not read",
    ]
    code, lines, notes = chat(stack, stack.image("chat.png"), stdin="\n".join(typed))
    first, second = last_jobs(stack, 2)
    assert code == 0
    assert "\x1b" not in "".join(lines)
    assert (second.parent_id, second.fact("session_id")) == (first.id, first.fact("session_id"))
    messages = [str(message["text"]) for message in stack.messages_of(first)]
    assert messages[0] == "a 1-second slow push-in."
    assert messages[1].startswith("put our logo.png in the corner, 2 seconds. Use the attached")
    assert len(stack.sandbox.ledger()["messages"]) == paid + 2
    clips = clips_in(lines)
    assert len(set(clips)) == 2
    answers = [
        "There is no file gone.png. Nothing was sent.",
        "It costs about 100 credits.",
        f"  clip      {clips[1]}",
        next(line for line in lines if "credits available" in line),
        f"The clip is ready: {clips[1]}",
        next(line for line in lines if line.startswith("succeeded: ")),
    ]
    assert [line for line in lines if line in answers] == answers, "in the order of the input lines"
    assert notes == f'To continue later: `reelqueue say {second.id} "…"`.\n'


def test_a_question_of_the_agent_is_shown_and_its_answer_uses_the_same_session(
    clean_stack: Stack,
) -> None:
    stack = clean_stack
    stack.sandbox.inject_faults({"call": "message", "action": "question", "times": 2})
    code, lines, _ = chat(stack, stdin=f"{stack.image('ask.png')}\n\n1 second, please\n")
    asked, answered = last_jobs(stack, 2)
    assert code == 0
    assert any("Which length do you want: 5, 10 or 15 seconds?" in line for line in lines)
    assert "Answer it here. It costs about 100 credits." in lines
    assert (answered.parent_id, answered.fact("session_id")) == (
        asked.id,
        asked.fact("session_id"),
    )
    assert [m["text"] for m in stack.messages_of(asked)][2:] == ["1 second, please."]
    assert len(clips_in(lines)) == 1
