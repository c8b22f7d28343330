"""What a recovery does with a job, by what the record and the journal say."""

from dataclasses import replace

import pytest

from tests.unit.worker.journal.conftest import entry
from worker.journal.entries import Mark
from worker.journal.journal import Attempt
from worker.ledger.model.jobs import Job, Turn, read_job
from worker.ledger.model.states import State
from worker.recovery.actions import RecoveryAction, choose_action, needs_reading

PAID = Attempt("job-1", 1, entry())
NOT_CHARGED = Attempt("job-1", 1, entry(), Mark.NOT_CHARGED)
NOT_CHARGED_LATER = Attempt("job-1", 2, entry(2), Mark.NOT_CHARGED)
DAMAGED = Attempt("job-1", 2, None, problem="cut short")
DAMAGED_FIRST = replace(DAMAGED, number=1)


def job(
    state: State = State.QUEUED, *, call: str = "", fingerprint: str = entry().fingerprint
) -> Job:
    """A record, with a message for its present turn if a call is given."""
    found = read_job(
        {"v": "1", "id": "job-1", "state": state, "payload": "{}", "flow": "single:normal"}
        | {"fence": "0", "turn": "1", "created_at": "1", "entered_at": "1"}
        | {"fingerprint": fingerprint}
    )
    turn = Turn(number=1, call=call, outcome="sent", cost=100, attempt=1)
    return replace(found, turns=(turn,)) if call else found


OWN_CALL = job(State.SETTLING, call=entry().call)
OTHER_CALL = job(State.SETTLING, call="job-1:1:1:other")
ASKED = replace(
    job(), turn=2, turns=(Turn(number=1, call=entry().call, outcome="question", cost=1, attempt=1),)
)
ANSWER = Attempt("job-1", 2, replace(entry(2, nonce="answer"), turn=2))
SECOND = Attempt("job-1", 2, entry(2, nonce="second"))


@pytest.mark.parametrize(
    ("record", "attempts", "has_end", "expected"),
    [
        (None, [PAID], False, RecoveryAction.RESUME),
        (None, [PAID], True, RecoveryAction.RESTORE_END),
        (None, [NOT_CHARGED], False, RecoveryAction.NOT_CHARGED),
        (None, [PAID, NOT_CHARGED_LATER], False, RecoveryAction.RESUME),
        (None, [PAID, DAMAGED], False, RecoveryAction.HOLD),
        (None, [DAMAGED], False, RecoveryAction.UNREADABLE),
        (None, [], False, RecoveryAction.NOT_CHARGED),
        (job(), [PAID], False, RecoveryAction.RESUME),
        (job(State.HELD), [PAID], False, RecoveryAction.RESUME),
        (job(), [PAID, NOT_CHARGED_LATER], False, RecoveryAction.RESUME),
        (ASKED, [PAID], False, RecoveryAction.KNOWN),
        (ASKED, [PAID, NOT_CHARGED_LATER], False, RecoveryAction.KNOWN),
        (job(), [PAID], True, RecoveryAction.RESTORE_END),
        (job(), [PAID, DAMAGED], False, RecoveryAction.UNREADABLE),
        (job(), [NOT_CHARGED], False, RecoveryAction.NOT_CHARGED),
        (OWN_CALL, [PAID], False, RecoveryAction.KNOWN),
        (OWN_CALL, [PAID], True, RecoveryAction.RESTORE_END),
        (OTHER_CALL, [PAID], False, RecoveryAction.KNOWN),
        (OTHER_CALL, [PAID], True, RecoveryAction.KNOWN),
        (OWN_CALL, [PAID, ANSWER], False, RecoveryAction.RESUME),
        (OWN_CALL, [PAID, ANSWER], True, RecoveryAction.RESTORE_END),
        (OWN_CALL, [PAID, NOT_CHARGED_LATER], False, RecoveryAction.KNOWN),
        (OWN_CALL, [NOT_CHARGED, SECOND], False, RecoveryAction.RESUME),
        (job(fingerprint="of another payload"), [PAID], False, RecoveryAction.KNOWN),
        (job(fingerprint="of another payload"), [PAID], True, RecoveryAction.KNOWN),
        (job(State.SUCCEEDED), [PAID], True, RecoveryAction.KNOWN),
        (job(State.FAILED), [NOT_CHARGED], False, RecoveryAction.KNOWN),
        (job(State.FAILED), [], False, RecoveryAction.KNOWN),
        (job(State.SUCCEEDED), [PAID, DAMAGED], True, RecoveryAction.UNREADABLE),
        (job(State.SUCCEEDED, call="lost"), [DAMAGED_FIRST], True, RecoveryAction.KNOWN),
        (job(State.HELD, call="lost"), [DAMAGED_FIRST], True, RecoveryAction.UNREADABLE),
    ],
)
def test_each_case(
    record: Job | None, attempts: list[Attempt], has_end: bool, expected: RecoveryAction
) -> None:
    assert choose_action(record, attempts, has_end=has_end) is expected


@pytest.mark.parametrize(
    ("record", "names", "expected"),
    [
        (None, ["1"], True),
        (job(State.SUCCEEDED), ["1", "end"], False),
        (OWN_CALL, ["1", "1.mark"], False),
        (OWN_CALL, ["1", "2"], True),
        (OWN_CALL, ["1", "end"], True),
        (job(), ["1"], True),
    ],
)
def test_a_known_job_is_not_read(record: Job | None, names: list[str], expected: bool) -> None:
    assert needs_reading(record, names) is expected
