"""One row for each error code of each call after the upload, in both styles of envelope.

All rows run at the same time in one stack. The fault of a row applies to its own picture only. A
second phase releases each held job as its remedy says.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import pytest

from tests.support.stack import Stack
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import Reason, State

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(900)]
"""The fixture runs all jobs: on a busy machine that takes minutes."""

OK, HELD, FAILED = State.SUCCEEDED, State.HELD, State.FAILED
STYLES = ("envelope", "status")
SERVER = (500, 502, 503, 504)


@dataclass(frozen=True)
class Row:
    """The reply to a call, and the expected state of the job.

    Attributes:
        call: The call that fails.
        code: The error code; 0 drops the connection instead.
        style: Whether the code is in an envelope with HTTP 200, or is the HTTP status.
        state: The state in which the job stops.
        reason: The reason of that state.
        paid: Messages that are charged.
        renders: Exports that reach the API.
        done: Whether the API processes the request before the connection is dropped.
    """

    call: str
    code: int
    style: str
    state: State
    reason: Reason | None = None
    paid: int = 1
    renders: int = 1
    done: bool = False

    @property
    def name(self) -> str:
        """The name of the row and of its picture."""
        dropped = "-dropped-done" if self.done else "-dropped"
        how = dropped if not self.code else f"-{self.code}-{self.style}"
        return f"{self.call}{how}"

    @property
    def fault(self) -> dict[str, object]:
        """The fault to inject into the stand-in."""
        wanted: dict[str, object] = {
            "call": self.call,
            "picture": f"{self.name}.png",
            # The state is also read before the message, as the baseline: not that call.
            "spoken": True if self.call == "state" else None,
        }
        if not self.code:
            return {**wanted, "action": "reset", "done": self.done}
        return {**wanted, "action": "refuse", "code": self.code, "style": self.style}


def rows() -> Iterator[Row]:
    """Yield the rows of the table."""
    yield from reply_rows()
    yield from paid_rows("state")
    yield from paid_rows("export", renders=0)
    yield from paid_rows("poll")
    for code, style in product((1001, 404, 403, 500), STYLES):
        yield Row("download", code, style, OK)
    yield Row("download", 0, "", OK)


def reply_rows() -> Iterator[Row]:
    """Yield the rows about the direct reply to the paid message."""
    for style in STYLES:
        for code in (1001, 1010, 1011, 401):
            yield Row("message", code, style, HELD, Reason.TOKEN, paid=0, renders=0)
        for code in (1002, 404):
            yield Row("message", code, style, OK)
        yield Row("message", 4001, style, FAILED, Reason.UNSUPPORTED_FILE, paid=0, renders=0)
        yield Row("message", 4002, style, FAILED, Reason.FILE_TOO_LARGE, paid=0, renders=0)
        yield Row("message", 402, style, HELD, Reason.PLAN, paid=0, renders=0)
        yield Row("message", 400, style, OK)
        yield Row("message", 429, style, OK)
        for code in SERVER:
            yield Row("message", code, style, HELD, Reason.OUTCOME_UNKNOWN, paid=0, renders=0)
    yield Row("message", 0, "", HELD, Reason.OUTCOME_UNKNOWN, paid=0, renders=0)
    yield Row("message", 0, "", OK, done=True)


def paid_rows(call: str, *, renders: int = 1) -> Iterator[Row]:
    """Yield the rows about a call after the paid message: nothing is paid again."""
    poll = call == "poll"
    left = 0 if call == "state" else renders
    for style in STYLES:
        for code in (1001, 401):
            yield Row(call, code, style, HELD, Reason.TOKEN, renders=left)
        yield Row(call, 1002, style, HELD, Reason.SESSION_LOST, renders=left)
        if poll:
            yield Row(call, 404, style, OK, renders=2)
        else:
            yield Row(call, 404, style, HELD, Reason.SESSION_LOST, renders=left)
        if call != "export":  # it concerns the whole account: see test_codes.py
            yield Row(call, 402, style, HELD, Reason.PLAN, renders=left)
        # These codes mean nothing to these calls: a call is retried, a render repeated.
        for code in (4001, 400):
            yield Row(call, code, style, OK, renders=2 if poll else 1)
        for code in (429, 500, 503):
            yield Row(call, code, style, OK)
    yield Row(call, 0, "", OK)
    if call == "export":
        yield Row(call, 0, "", OK, done=True)


TABLE = list(rows())


@dataclass
class Outcome:
    """The job of a row when it has stopped, and after it was released.

    Attributes:
        first: The job when it has stopped.
        paid: The messages that were charged until then.
        renders: The exports until then.
        last: The job after its release.
        paid_in_all: All messages that were charged in its session.
    """

    first: Job
    paid: int
    renders: int
    last: Job
    paid_in_all: int


@pytest.fixture(scope="module")
def outcomes(module_stack: Stack) -> dict[str, Outcome]:
    stack = module_stack
    # Many streams at the same time take seconds on a busy machine.
    stack.start_worker(REELQUEUE_STREAM_TIMEOUT_SECONDS="6", REELQUEUE_BALANCE_SECONDS="100000")
    stack.sandbox.inject_faults(*(row.fault for row in TABLE))
    jobs = {
        row.name: stack.submit(stack.image(f"{row.name}.png", n), key=row.name)
        for n, row in enumerate(TABLE)
    }
    stack.wait_until_idle()
    first = {name: stack.job(job_id) for name, job_id in jobs.items()}
    paid, renders = charged(stack), exported(stack)
    stack.sandbox.clear_faults()
    for job in first.values():
        undecided = job.reason in (Reason.OUTCOME_UNKNOWN, Reason.SESSION_LOST)
        mode = ("as_done" if paid.get(session(job), 0) else "pay_again") if undecided else ""
        if job.state is HELD:
            assert stack.ledger.release(job.id, mode=mode, who="test") == "OK"
    stack.wait_until_idle()
    in_all = charged(stack)
    return {
        name: Outcome(
            first=job,
            paid=paid.get(session(job), 0),
            renders=renders.get(session(job), 0),
            last=stack.job(job.id),
            paid_in_all=in_all.get(session(stack.job(job.id)), 0),
        )
        for name, job in first.items()
    }


def session(job: Job) -> str:
    return job.facts.get("session_id", "")


def charged(stack: Stack) -> dict[str, int]:
    """Return the number of charged messages of each session."""
    found: dict[str, int] = {}
    for message in stack.sandbox.ledger()["messages"]:
        key = str(message["session_id"])
        found[key] = found.get(key, 0) + bool(message["charged"])
    return found


def exported(stack: Stack) -> dict[str, int]:
    """Return the number of exports of each session."""
    found: dict[str, int] = {}
    for render in stack.sandbox.ledger()["renders"]:
        key = str(render["session_id"])
        found[key] = found.get(key, 0) + 1
    return found


def test_the_table_has_all_rows() -> None:
    assert len(TABLE) >= 60
    assert len({row.name for row in TABLE}) == len(TABLE)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_each_error_leads_to_its_state(row: Row, outcomes: dict[str, Outcome]) -> None:
    found = outcomes[row.name]
    assert (found.first.state, found.first.reason) == (row.state, row.reason)
    assert (found.paid, found.renders) == (row.paid, row.renders)
    if row.state is not OK:
        assert found.first.message
        assert found.first.remedy


@pytest.mark.parametrize(
    "row", [row for row in TABLE if row.state is HELD], ids=lambda row: row.name
)
def test_the_remedy_of_a_held_job_leads_to_a_clip_that_is_paid_once(
    row: Row, outcomes: dict[str, Outcome]
) -> None:
    found = outcomes[row.name]
    assert found.last.state is OK
    assert found.paid_in_all == 1
    assert len(found.last.facts.get("decisions", "")) > 2 or row.reason not in (
        Reason.OUTCOME_UNKNOWN,
        Reason.SESSION_LOST,
    )
