"""Each invariant reports a violation that is made for it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.faults import invariants
from tests.faults.evidence import Evidence, Sample
from tests.faults.invariants import INVARIANTS, violations

CALL = "a:1:1"


def job(**changes: str) -> dict[str, str]:
    """Return the record of a succeeded job."""
    clip = json.dumps({"key": "single/a.mp4", "sha256": "c1"})
    fields = {"state": "succeeded", "turn": "1", "paid": "1", "call:1": CALL, "outcome:1": "done"}
    return {**fields, "session_id": "s1", "owner": "", "clip": clip, **changes}


def message(**changes: Any) -> dict[str, Any]:
    """Return its message in the stand-in's ledger."""
    fields = {"session_id": "s1", "image_sha256": "p1", "outcome": "clean", "overlapping": False}
    return {**fields, **changes}


def render(**changes: Any) -> dict[str, Any]:
    """Return its render in the stand-in's ledger."""
    return {"id": "r1", "session_id": "s1", "status": "completed", "downloads": 1, **changes}


GOOD = Evidence(
    inputs={"a": "p1"},
    jobs={"a": job()},
    counts={"n:succeeded": 1, "n:queued": 0},
    reserved={"account-1": (100.0, {"b": 100.0})},
    results={"a": "SUCCESS"},
    submissions={"m": "a"},
    answers={"m": "a"},
    attempts={"a": [CALL]},
    messages=[message()],
    sessions={"s1": "p1"},
    renders=[render()],
    clips={"single/a.mp4": "c1"},
    samples=[Sample(1, {"n:queued": 1}, {"account-1": 0.0})],
)


def held(reason: str = "outcome_unknown", **changes: str) -> dict[str, Any]:
    """Return what differs in the evidence if the job is held instead."""
    reason_fields = {"message": "It may have been charged.", "remedy": "Look at the project."}
    record = job(state="held", reason=reason, **{**reason_fields, **changes})
    return {
        "jobs": {"a": record},
        "counts": {"n:held": 1, f"h:{reason}": 1},
        "held": {"held:{rq}:account-1:x": ["a"]},
        "results": {"a": "HELD"},
        "clips": {},
        "renders": [],
    }


def test_a_run_without_errors_has_no_violations() -> None:
    assert violations(GOOD) == []


def test_an_unknown_outcome_of_a_cancelled_message_is_no_violation() -> None:
    evidence = replace(GOOD, **held(), messages=[message(outcome="cancelled")])
    assert violations(evidence) == []


def test_an_answered_question_and_a_refused_message_are_no_violations() -> None:
    two = job(turn="2", paid="2", **{"outcome:1": "question", "call:2": "a:2:2"})
    sent = [message(outcome="refused"), message(outcome="question"), message()]
    attempts = {"a": [CALL, "a:2:2"]}
    assert violations(replace(GOOD, jobs={"a": two}, messages=sent, attempts=attempts)) == []


def test_a_message_that_a_person_decided_to_pay_again_is_no_violation() -> None:
    two = job(turn="2", paid="2", **{"outcome:1": "pay_again", "call:2": "a:2:2"})
    sent = [message(outcome="cancelled"), message()]
    evidence = replace(GOOD, jobs={"a": two}, messages=sent, attempts={"a": [CALL, "a:2:2"]})
    assert violations(replace(evidence, decided={"a": 1})) == []
    (found,) = violations(evidence)
    assert found.startswith("paid_once_per_input: ")


def test_a_second_copy_of_a_clip_is_no_violation_after_a_loss() -> None:
    twice = replace(GOOD, clips={**GOOD.clips, "single/a-2.mp4": "c1"})
    assert violations(replace(twice, has_lost_records=True)) == []
    assert len(violations(twice)) == 1
    other = replace(twice, clips={**GOOD.clips, "single/a-2.mp4": "c2"}, has_lost_records=True)
    assert len(violations(other)) == 1


VIOLATIONS: list[tuple[Callable[..., object], Mapping[str, Any]]] = [
    (invariants.paid_once_per_turn, {"messages": [message(), message()]}),
    (invariants.paid_once_per_turn, {"messages": [message(), message(session_id="s2")]}),
    (invariants.paid_once_per_turn, {"messages": [message(), message(image_sha256="other")]}),
    (invariants.paid_once_per_input, {"messages": [message(), message()]}),
    (invariants.paid_once_per_input, {"messages": 3 * [message(outcome="question")]}),
    (invariants.paid_once_per_input, {"messages": 3 * [message()], "decided": {"a": 1}}),
    (invariants.messages_have_an_entry, {"attempts": {}}),
    (invariants.messages_have_an_entry, {"messages": [message(), message()]}),
    (invariants.records_agree_with_the_journal, {"attempts": {"a": []}}),
    (invariants.records_agree_with_the_journal, {"attempts": {"a": ["a:1:2"]}}),
    (invariants.records_agree_with_the_journal, {"attempts": {"a": [CALL, "a:2:2"]}}),
    (
        invariants.later_turns_have_a_reason,
        {"jobs": {"a": job(turn="2", paid="2", **{"call:2": "x"})}},
    ),
    (invariants.later_turns_have_a_reason, {"jobs": {"a": job(paid="2")}}),
    (invariants.messages_never_overlap, {"messages": [message(overlapping=True)]}),
    (invariants.no_job_is_lost, {"inputs": {"a": "p1", "b": "p2"}}),
    (invariants.no_job_is_lost, {"inputs": {}}),
    (invariants.every_submission_is_a_job, {"submissions": {"m": "a", "n": "b"}}),
    (invariants.every_submission_is_a_job, {"answers": {}}),
    (invariants.every_submission_is_a_job, {"answers": {"m": "b"}}),
    (invariants.every_job_is_in_one_place, {"agenda": ["a"]}),
    (invariants.every_job_is_in_one_place, {"flows": {"flow": ["a"]}}),
    (invariants.every_job_is_in_one_place, {"agenda": ["nobody"]}),
    (invariants.every_job_is_in_one_place, {**held(), "held": {}}),
    (invariants.no_job_is_left_running, {"jobs": {"a": job(state="rendering")}}),
    (invariants.no_job_is_left_running, {"jobs": {"a": job(owner="somebody")}}),
    (invariants.no_job_is_left_running, held(remedy="")),
    (invariants.counters_add_up, {"counts": {"n:succeeded": 2}}),
    (invariants.counters_add_up, {"counts": {"n:succeeded": 1, "h:credits": 1}}),
    (invariants.counters_add_up, {"samples": [Sample(2, {"n:queued": 1}, {})]}),
    (invariants.counters_add_up, {"samples": [Sample(0, {"n:queued": -1, "n:held": 1}, {})]}),
    (invariants.limits_count_running_jobs_alone, {"preparing": ["a"]}),
    (invariants.reservations_are_released, {"slots": [CALL]}),
    (invariants.reservations_are_released, {"reserved": {"account-1": (200.0, {"b": 100.0})}}),
    (invariants.reservations_are_released, {"samples": [Sample(0, {}, {"account-1": -1.0})]}),
    (invariants.paid_clips_are_delivered, held()),
    (invariants.paid_clips_are_delivered, held("plan")),
    (invariants.paid_clips_are_delivered, {"jobs": {"a": job(state="failed")}}),
    (invariants.finished_renders_are_delivered, {"renders": [render(downloads=0)]}),
    (invariants.finished_renders_are_delivered, {**held(), "renders": [render()]}),
    (invariants.clips_match_their_records, {"clips": {}}),
    (invariants.clips_match_their_records, {"clips": {"single/a.mp4": "half"}}),
    (invariants.clips_match_their_records, {"clips": {**GOOD.clips, "single/b.mp4": "c2"}}),
    (invariants.clips_match_their_records, {"jobs": {"a": job(clip="")}}),
    (invariants.notifications_are_sent, {"outbox": ["job:a"]}),
    (invariants.notifications_are_sent, {"results": {}}),
    (invariants.notifications_are_sent, {"results": {"a": "FAILURE"}}),
    (invariants.no_token_on_download_links, {"tokens_on_links": 1}),
]


@pytest.mark.parametrize(
    ("invariant", "changes"),
    VIOLATIONS,
    ids=[f"{invariant.__name__}-{n}" for n, (invariant, _) in enumerate(VIOLATIONS)],
)
def test_each_violation_is_found(
    invariant: Callable[..., object], changes: Mapping[str, Any]
) -> None:
    found = violations(replace(GOOD, **changes))
    assert any(line.startswith(f"{invariant.__name__}: ") for line in found), found


def test_each_invariant_has_a_violation_here() -> None:
    assert {invariant.__name__ for invariant, _ in VIOLATIONS} == {
        invariant.__name__ for invariant in INVARIANTS
    }
