"""A job as Flower shows it: what Celery's own state makes of the events."""

import json
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from celery.events.state import State as FlowerState

from worker.ledger.model.states import State
from worker.telemetry.job_task import NAME, JobTask, clip_key

PROMPT = "a slow push-in of our SECRET lamp"
IMAGE = "https://example.org/shop/lamp%20red.jpg?X-Amz-Signature=SIGNATURE#x"
PAYLOAD = json.dumps({"image": IMAGE, "prompt": PROMPT})
SHOWN = {
    State.HELD: "RETRY",
    State.QUEUED: "RETRY",
    State.SUCCEEDED: "SUCCESS",
    State.FAILED: "FAILURE",
    State.CANCELLED: "REVOKED",
}


def record(state: State, **fields: str) -> dict[str, str]:
    """The record of a job in a state."""
    ends = {"finished_at": "20500"} if state.is_end else {}
    reasons = {
        State.HELD: {"reason": "credits", "message": "No credits.", "remedy": "Buy some."},
        State.FAILED: {"reason": "bad_image", "message": "It is damaged."},
    }
    names = ("reason", "message", "remedy", "clip", "worker", "reopened", "finished_at", "batch")
    times = {"created_at": "9000", "started_at": "10000"}
    own = {"state": state.value, "payload": PAYLOAD, **times, **ends, **reasons.get(state, {})}
    return {**dict.fromkeys(names, ""), **own, **fields}


def job_task(state: State, *, is_old: bool = False, **fields: str) -> JobTask:
    clip = "file:///out/lamp.mp4" if state is State.SUCCEEDED else ""
    return JobTask("j", record(state, **fields), "Spring", clip, is_old=is_old)


class Flower:
    """Celery's state of the events, as Flower keeps it."""

    def __init__(self) -> None:
        self.state: Any = FlowerState()
        self.clock = 0

    def receive(self, task: JobTask) -> Any:
        for kind, fields in task.events():
            self.clock += 1
            now = {"clock": self.clock, "timestamp": 1e9, "local_received": 1e9}
            self.state.event({"type": kind, "hostname": "w@h", "pid": 1, **now, **fields})
        return self.state.tasks["j"]


def expect(row: Any, state: State) -> None:
    """Assert that a row shows a job in a state, and nothing of an earlier one."""
    assert row.state == SHOWN.get(state, "STARTED")
    assert (row.name, row.args) == (NAME, "('lamp red.jpg', 'Spring')")
    assert row.started == 10
    assert (row.runtime is not None) == state.is_end or row.state in ("RETRY", "STARTED")
    assert row.result == ("file:///out/lamp.mp4" if state is State.SUCCEEDED else None)
    assert (row.succeeded, row.failed, row.revoked) == tuple(
        20.5 if state is end else None for end in (State.SUCCEEDED, State.FAILED, State.CANCELLED)
    )
    assert row.kwargs == {
        State.HELD: "{'reason': 'credits'}",
        State.FAILED: "{'reason': 'bad_image'}",
    }.get(state, "{}")
    expected = {
        State.HELD: "held, credits: No credits. Buy some.",
        State.FAILED: "bad_image: It is damaged.",
        State.CANCELLED: "cancelled",
        State.QUEUED: "The job was released or retried, and waits in the queue.",
    }
    assert row.exception == expected.get(state)


@pytest.mark.parametrize("state", SHOWN.keys() | {State.GENERATING})
def test_a_row_shows_the_state_of_its_job(state: State) -> None:
    row = Flower().receive(job_task(state))
    expect(row, state)
    assert row.runtime == (10.5 if state.is_end else None)


@pytest.mark.parametrize(
    "history",
    [
        "generating held generating succeeded",
        "generating held cancelled",
        "generating failed queued* generating* succeeded",
        "generating failed generating* held failed",
        "generating failed queued* held cancelled",
        "generating cancelled",
    ],
)
def test_a_row_follows_its_job(history: str) -> None:
    """A star marks what follows an end that Flower was not told to leave yet."""
    flower = Flower()
    for word in history.split():
        state = State(word.rstrip("*"))
        expect(flower.receive(job_task(state, reopened="1" if "*" in word else "")), state)


@pytest.mark.parametrize(("before", "after"), list(product(SHOWN, [*SHOWN, State.GENERATING])))
def test_a_replay_mends_every_old_row(before: State, after: State) -> None:
    flower = Flower()
    flower.receive(job_task(before))
    expect(flower.receive(job_task(after, is_old=True)), after)


def test_a_change_of_the_worker_counts_no_task_as_waiting() -> None:
    """Flower counts received tasks until they start, for each worker."""
    assert [kind for kind, _ in job_task(State.SETTLING).events()] == [
        "task-received",
        "task-started",
    ]


def texts(task: JobTask) -> Iterator[str]:
    for _, fields in task.events():
        yield json.dumps(fields)


@pytest.mark.parametrize("state", [State.HELD, State.FAILED, State.GENERATING])
def test_no_event_has_a_prompt_a_signature_or_a_token(state: State) -> None:
    message = f"Asked: {PROMPT.upper()}  at {IMAGE} nmv_usr_abc\nclm_def"
    for text in texts(job_task(state, message=message, remedy=f"See {IMAGE}")):
        for secret in ("SECRET", "SIGNATURE", "nmv_usr_abc", "clm_def", "\\n"):
            assert secret not in text


@pytest.mark.parametrize(
    ("image", "args"),
    [
        ("/photos/a b.png", "('a b.png', 'Spring')"),
        ("C:\\photos\\a.png", "('a.png', 'Spring')"),
        ("https://example.org/", "('Spring',)"),
        ("https://[bad/x.png", "('Spring',)"),
        ("灯.jpg", "('灯.jpg', 'Spring')"),
        ("x\u202egpj.exe", "('x\ufffdgpj.exe', 'Spring')"),
    ],
)
def test_a_picture_is_shown_by_its_name(image: str, args: str) -> None:
    task = job_task(State.GENERATING, payload=json.dumps({"image": image}))
    assert next(task.events())[1]["args"] == args


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"image": 5}', "[" * 100_000])
def test_a_damaged_record_is_shown_as_far_as_it_goes(damage: str) -> None:
    damaged = job_task(
        State.SUCCEEDED, payload=damage, clip=damage, started_at="x", finished_at="?"
    )
    row = Flower().receive(damaged)
    assert (row.state, row.runtime) == ("SUCCESS", None)
    assert clip_key({"clip": damage}) == ""
