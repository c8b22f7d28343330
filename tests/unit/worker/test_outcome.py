"""What readings say about a paid message."""

from dataclasses import replace

from worker.outcome import Evidence, Reading, Verdict, judge

BEFORE = Reading("before", ready=False)
READY = Reading("after", ready=True)
RAW = Reading("half", ready=False)
CLEAN = Evidence(
    ended_clean=True,
    said_something=True,
    used_tools=True,
    baseline="before",
    previous=None,
    checks=1,
    sent_ago=40,
)
BROKEN = replace(CLEAN, ended_clean=False, said_something=False)


def verdict(evidence: Evidence, reading: Reading) -> Verdict:
    return judge(evidence, reading, checks=5, message_limit=900)


def test_after_a_clean_end_one_reading_is_enough() -> None:
    assert verdict(CLEAN, READY) is Verdict.DONE


def test_a_silent_edit_is_a_success() -> None:
    assert verdict(replace(CLEAN, said_something=False), READY) is Verdict.DONE


def test_after_a_broken_stream_two_readings_must_be_equal() -> None:
    assert verdict(BROKEN, READY) is Verdict.WAIT
    assert verdict(replace(BROKEN, previous=Reading("raw", ready=True)), READY) is Verdict.WAIT
    assert verdict(replace(BROKEN, previous=READY), READY) is Verdict.DONE


def test_a_draft_that_cannot_be_exported_is_not_done() -> None:
    assert verdict(replace(CLEAN, previous=RAW), RAW) is Verdict.WAIT


def test_a_question_is_a_clean_text_without_work_seen_twice() -> None:
    asked = replace(CLEAN, used_tools=False)
    assert verdict(asked, BEFORE) is Verdict.WAIT
    assert verdict(replace(asked, previous=BEFORE), BEFORE) is Verdict.QUESTION


def test_work_without_a_change_is_no_question() -> None:
    assert verdict(replace(CLEAN, previous=BEFORE), BEFORE) is Verdict.WAIT


def test_nothing_is_given_up_before_the_readings_and_the_messages_time_are_over() -> None:
    late = replace(BROKEN, previous=BEFORE, sent_ago=900)
    assert verdict(replace(late, checks=4), BEFORE) is Verdict.WAIT
    assert verdict(replace(late, checks=9, sent_ago=899), BEFORE) is Verdict.WAIT
    assert verdict(replace(late, checks=5), BEFORE) is Verdict.UNKNOWN


def test_a_ready_draft_is_taken_however_late() -> None:
    late = replace(BROKEN, previous=READY, sent_ago=5000, checks=99)
    assert verdict(late, READY) is Verdict.DONE
