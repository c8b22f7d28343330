"""Outcomes of a paid message, from its stream and the readings of the state after it."""

from dataclasses import replace

from worker.outcome import Evidence, MessageOutcome, StateReading, message_outcome

UNCHANGED = StateReading("before", ready=False)
READY = StateReading("after", ready=True)
NOT_READY = StateReading("half", ready=False)
CLEAN = Evidence(
    ended_cleanly=True,
    asks_question=False,
    has_tool_activity=True,
    baseline="before",
    previous=None,
    current=READY,
    readings=1,
    seconds_since_sent=40,
)
BROKEN = replace(CLEAN, ended_cleanly=False)


def outcome(evidence: Evidence) -> MessageOutcome:
    return message_outcome(evidence, min_readings=5, message_seconds=900)


def test_after_a_clean_end_one_reading_is_enough() -> None:
    assert outcome(CLEAN) is MessageOutcome.DONE


def test_after_a_broken_stream_two_readings_must_be_equal() -> None:
    other = StateReading("raw", ready=True)
    assert outcome(BROKEN) is MessageOutcome.WAIT
    assert outcome(replace(BROKEN, previous=other)) is MessageOutcome.WAIT
    assert outcome(replace(BROKEN, previous=READY)) is MessageOutcome.DONE


def test_a_draft_that_cannot_be_exported_is_not_done() -> None:
    assert outcome(replace(CLEAN, previous=NOT_READY, current=NOT_READY)) is MessageOutcome.WAIT


def test_a_question_has_no_tool_activity_and_two_unchanged_readings() -> None:
    asked = replace(CLEAN, asks_question=True, has_tool_activity=False, current=UNCHANGED)
    assert outcome(asked) is MessageOutcome.WAIT
    assert outcome(replace(asked, previous=UNCHANGED)) is MessageOutcome.QUESTION


def test_a_text_that_asks_nothing_is_no_question_however_often_nothing_changes() -> None:
    announced = replace(CLEAN, has_tool_activity=False, previous=UNCHANGED, current=UNCHANGED)
    assert outcome(replace(announced, readings=9)) is MessageOutcome.WAIT
    late = replace(announced, readings=9, seconds_since_sent=900)
    assert outcome(late) is MessageOutcome.UNKNOWN


def test_tool_activity_without_a_change_is_no_question() -> None:
    evidence = replace(CLEAN, asks_question=True, previous=UNCHANGED, current=UNCHANGED)
    assert outcome(evidence) is MessageOutcome.WAIT


def test_an_outcome_is_unknown_only_after_the_readings_and_the_time_of_the_message() -> None:
    late = replace(BROKEN, previous=UNCHANGED, current=UNCHANGED, seconds_since_sent=900)
    assert outcome(replace(late, readings=4)) is MessageOutcome.WAIT
    early = replace(late, readings=9, seconds_since_sent=899)
    assert outcome(early) is MessageOutcome.WAIT
    assert outcome(replace(late, readings=5)) is MessageOutcome.UNKNOWN


def test_a_ready_draft_is_done_however_late_it_is() -> None:
    late = replace(BROKEN, previous=READY, seconds_since_sent=5000, readings=99)
    assert outcome(late) is MessageOutcome.DONE
