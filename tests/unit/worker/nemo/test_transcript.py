"""Folding events into what a job needs."""

import pytest

from tests.unit.worker.nemo.stream_samples import RECORDED
from worker.nemo.streaming.events import End, Event, Heartbeat, StreamError, Text, ToolActivity
from worker.nemo.streaming.transcript import MAX_CHARACTERS, Transcript

ISSUE = "I encountered a temporary issue. Please try again later."


def fold(*events: Event) -> Transcript:
    transcript = Transcript()
    for event in events:
        transcript.add(event)
    return transcript


@pytest.mark.parametrize(
    ("name", "tools", "error", "reply"),
    [
        ("plain", True, None, "Your clip is ready: a 10 second push-in with Lo-fi music."),
        ("silent", True, None, ""),
        ("question", False, None, "Which length do you want: 5, 10 or 15 seconds?"),
        ("trailing", True, None, "Your clip is ready."),
        (
            "crash",
            False,
            StreamError("RuntimeError: render backend unavailable", "RuntimeError"),
            "Starting on your photo.",
        ),
        ("quota", True, StreamError("Out of quota", "RESOURCE_EXHAUSTED"), "Adding music."),
    ],
)
def test_recorded_stream(name: str, tools: bool, error: StreamError | None, reply: str) -> None:
    transcript = fold(*RECORDED[name], End(clean=True))
    assert transcript.tool_activity is tools
    assert transcript.error == error
    assert transcript.reply.split("\n\n")[-1] == reply
    assert transcript.clean is True


def test_texts_are_paragraphs_and_a_repeated_text_counts_once() -> None:
    assert fold(Text(" a\n"), Text("b"), Text("b"), ToolActivity("f")).reply == "a\n\nb"


def test_temporary_issue_is_kept_when_it_is_the_only_text() -> None:
    assert fold(ToolActivity("f"), Text(ISSUE)).reply == ISSUE


def test_temporary_issues_are_left_out_after_normal_texts_only() -> None:
    transcript = fold(Text(ISSUE), Text("done"), Text(ISSUE), Text(ISSUE.upper()))
    assert transcript.reply == f"{ISSUE}\n\ndone"


def test_first_error_is_kept() -> None:
    assert fold(StreamError("a"), StreamError("b")).error == StreamError("a")


def test_counts_and_end() -> None:
    transcript = fold(Heartbeat(), Text("a"), Heartbeat(), End(clean=False, skipped=3))
    assert (transcript.events, transcript.heartbeats, transcript.skipped) == (4, 2, 3)
    assert transcript.clean is False


def test_running_stream_is_neither_clean_nor_broken() -> None:
    assert fold(Text("a")).clean is None


def test_memory_is_bounded_and_the_latest_text_is_kept() -> None:
    """An endless stream of texts, and a single text that is too long."""
    transcript = fold(*(Text(f"{n} " + "x" * 1000) for n in range(1000)), Text("last"))
    assert len(transcript._texts) < 70
    assert transcript.reply.endswith("last")
    assert len(fold(Text("x" * 2 * MAX_CHARACTERS)).reply) == MAX_CHARACTERS
