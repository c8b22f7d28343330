"""Settling on a ledger that has lost records: a later message in the session, and ends."""

import json
from dataclasses import replace
from uuid import uuid4

import pytest
from redis import Redis

from config.settings import Settings
from tasks.stages.settle import settle
from tests.support.api_responses import state_envelope
from tests.support.waiting import refusing_port
from tests.unit.tasks.stages.conftest import SESSION, Worker
from tests.unit.tasks.stages.test_payment_schedules import Actor, World
from tests.unit.worker.loopback_server import Server, json_reply
from tests.unit.worker.nemo.test_draft import segment, track
from worker.journal.entries import End
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.nemo.draft import Draft
from worker.nemo.errors import NemoError
from worker.reconciliation import new_entry


@pytest.fixture
def actor(redis: Redis, settings: Settings) -> Actor:
    """A worker that has paid for the job, in a session that another job has used since."""
    nowhere = settings.api.model_copy(update={"url": f"http://127.0.0.1:{refusing_port()}"})
    world = World(redis, settings.model_copy(update={"api": nowhere}))
    world.submit()
    actor = Actor(world)
    actor.pay()
    job = actor.runtime.ledger.job("j")
    assert job is not None
    actor.step.job = job
    return actor


def say_later(actor: Actor) -> str:
    """Write the entry of a later message in the session; return the draft that it had read."""
    draft = Draft({"t": [track(0, segment(2000))]}).pack()
    (own,) = actor.runtime.journal.attempts("j")
    assert own.entry is not None
    later = replace(
        own.entry, job_id="later", nonce=uuid4().hex, previous=own.entry.name, draft=draft
    )
    actor.runtime.journal.create(later)
    assert actor.runtime.journal.name_next(own.entry.name, later)
    return draft


def test_a_message_from_before_a_recovery_is_settled_by_the_draft_in_the_next_entry(
    actor: Actor,
) -> None:
    """The session has the draft of the next message, which the ledger has lost."""
    draft = say_later(actor)
    actor.runtime.status.recovered_at = actor.step.job.sent_at
    commit = settle(actor.step)
    assert commit.state is State.RENDERING
    assert (commit.facts or {})["draft"] == draft


def test_a_message_after_the_recovery_is_settled_by_its_session(actor: Actor) -> None:
    say_later(actor)
    actor.runtime.status.recovered_at = actor.step.job.sent_at - 1
    with pytest.raises(NemoError):
        settle(actor.step)


def restored_before_answer(worker: Worker, server: Server, stream: dict[str, object]) -> str:
    """Give the worker's job an answer that Redis has lost; return the call of the answer.

    The session shows the draft that the answer has made.
    """
    step = worker.claim()
    worker.pay(step, attempt=1)
    facts = {"fact:j:1:c:stream": json.dumps(stream), "fact:j:1:c:ended": "clean"}
    worker.commit(step, Commit(State.SETTLING, facts=facts))
    journal = worker.runtime.journal
    journal.create(new_entry(step.job, call="j:1:c", attempt=1))
    answer = replace(new_entry(step.job, call="j:2:c", attempt=2), turn=2)
    journal.create(answer)
    path = f"GET /api/state/nemo_agent/me/{SESSION}/latest"
    server.on(path, json_reply(state_envelope(draft={"t": [track(0, segment(2000))]})))
    return answer.call


@pytest.mark.parametrize(
    "stream",
    [{"clean": True, "reply": "Which length do you want?"}, {"clean": False, "reply": ""}],
    ids=["question", "broken"],
)
@pytest.mark.parametrize("adopted", ["", "1"])
def test_a_draft_of_a_lost_answer_is_settled_with_the_payment_of_the_answer(
    worker: Worker, server: Server, stream: dict[str, object], adopted: str
) -> None:
    """Otherwise the record of the job would lack a message that was paid."""
    answer = restored_before_answer(worker, server, stream)
    for _ in range(3):
        step = worker.claim()
        step.job = replace(step.job, facts={**step.job.facts, "adopted": adopted})
        worker.commit(step, settle(step))
        job = worker.job()
        if job.call == answer:
            break
    assert job.state is State.SETTLING
    assert [turn.outcome for turn in job.turns] == ["question", "sent"]
    assert job.paid_messages == job.number("paid") == 2


def test_a_draft_of_the_message_itself_needs_no_further_reading(
    worker: Worker, server: Server
) -> None:
    """A question opens a later turn, or a person, but not before the message's time is over."""
    restored_before_answer(worker, server, {"clean": True, "reply": "Here is your clip."})
    step = worker.claim()
    step.job = replace(step.job, sent_at=step.clock.now_ms())
    assert settle(step).state is State.RENDERING
    step.job = replace(step.job, sent_at=1)
    assert settle(step).state is State.SETTLING


def test_a_job_from_before_a_recovery_settles_on_its_last_payment(
    worker: Worker, server: Server
) -> None:
    """Whatever its stream says: the state may be that of any later message."""
    answer = restored_before_answer(worker, server, {"clean": True, "reply": "Here is your clip."})
    step = worker.claim()
    worker.runtime.status.recovered_at = step.job.sent_at
    worker.commit(step, settle(step))
    assert (worker.job().state, worker.job().call) == (State.SETTLING, answer)


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED])
def test_a_job_that_is_adopted_ends_as_the_journal_says(actor: Actor, state: State) -> None:
    facts = {"reason": "bad_clip", "message": "broken", "remedy": "redo it"}
    actor.runtime.journal.end(End("j", state, facts if state is State.FAILED else {}))
    actor.step.job = replace(actor.step.job, facts={**actor.step.job.facts, "adopted": "1"})
    commit = settle(actor.step)
    assert commit.state is state
    if state is State.FAILED:
        assert (commit.reason, commit.message) == (Reason.BAD_CLIP, "broken")
