"""The result record and the batch record, made from a real ledger."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tasks.producer import queries
from tasks.schema.batch import batch_of
from tasks.schema.result import SHOWN_FACTS, Result, result_of
from tests.unit.tasks.conftest import ProducerHarness
from worker.ledger.model.batches import Batch, Pace
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import Reason, State

CLIP = {
    "key": "single/a b-1234.mp4",
    "bytes": 10,
    "sha256": "00",
    "width": 1920,
    "height": 1080,
    "seconds": 9.5,
    "codec": "h264",
    "poster": "single/a b-1234.jpg",
}


def job_of(harness: ProducerHarness, job_id: str) -> Job:
    job = harness.producer.ledger.job(job_id)
    assert job is not None
    return job


def test_a_queued_job(harness: ProducerHarness) -> None:
    job_id = harness.submit(prompt="Pan left", priority="high", data={"sku": "A-1"})
    job = job_of(harness, job_id)
    result = result_of(job, harness.producer.output, now=job.created_at / 1000 + 5)
    assert (result.state, result.priority, result.prompt) == (State.QUEUED, "high", "Pan left")
    assert (result.reason, result.video, result.finished_at) == (None, None, None)
    assert result.seconds_in == {State.QUEUED: 5}
    assert result.created_at == datetime.fromtimestamp(job.created_at / 1000, UTC)
    assert result.data == {"sku": "A-1"}


def test_a_clip_has_addresses_of_the_output_store(harness: ProducerHarness) -> None:
    job_id = harness.submit()
    harness.finish_step(
        job_id,
        State.SUCCEEDED,
        facts={
            "clip": json.dumps(CLIP),
            "reply": "Done.",
            "session_id": "s",
            "claim_url": "https://example.org/claim?ct=clm_x",
            "call:1": "c",
            "cost:1": "80",
            "charged:1": "1",
            "changes": json.dumps(["Turned upright."]),
        },
    )
    result = queries.get(harness.producer, job_id)
    assert result.video is not None
    assert result.video.url.startswith("file://")
    assert result.video.url.endswith("a%20b-1234.mp4")
    assert result.video.path == str(harness.folder / "output" / str(CLIP["key"]))
    assert result.video.poster is not None
    assert result.video.poster.endswith(".jpg")
    assert (result.reply, result.session.session_id, result.changes) == (
        *("Done.", "s"),
        ("Turned upright.",),
    )
    assert (result.credits_spent, result.credits_estimated) == (80, False)
    assert result.ended_or_held
    assert State.SUCCEEDED not in result.seconds_in
    assert {State.QUEUED, State.PREPARING} <= result.seconds_in.keys()


def test_a_held_job_has_a_reason_and_a_remedy(harness: ProducerHarness) -> None:
    job_id = harness.submit()
    harness.finish_step(
        job_id,
        State.HELD,
        reason=Reason.PLAN,
        message="No exports.",
        remedy="Upgrade.",
        resume=State.PREPARING,
    )
    result = queries.get(harness.producer, job_id)
    assert result.reason is not None
    assert result.reason.model_dump() == {
        "code": Reason.PLAN,
        "message": "No exports.",
        "remedy": "Upgrade.",
    }
    assert result.progress.message == "No exports."
    assert result.ended_or_held


def test_the_progress_of_a_retried_step_names_its_error(harness: ProducerHarness) -> None:
    job_id = harness.submit()
    facts = {"tries": "2", "trouble": "no connection"}
    harness.finish_step(job_id, State.PREPARING, delay=60, facts=facts)
    assert queries.get(harness.producer, job_id).progress.message == "Retrying: no connection"


def test_an_unsettled_message_costs_the_estimate(harness: ProducerHarness) -> None:
    job_id = harness.submit()
    harness.begin_payment(job_id, cost=100)
    result = queries.get(harness.producer, job_id)
    assert (result.paid_messages, result.credits_spent, result.credits_estimated) == (1, 100, True)


def test_a_record_can_be_read_back_from_json(harness: ProducerHarness) -> None:
    result = queries.get(harness.producer, harness.submit())
    assert Result.model_validate_json(result.model_dump_json()) == result


class ReadFacts(dict[str, str]):
    """Facts that remember which of them were read."""

    def __init__(self, facts: dict[str, str]) -> None:
        super().__init__(facts)
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)


def test_a_result_is_made_from_the_facts_that_are_read_for_it(harness: ProducerHarness) -> None:
    """The results of a batch are made from records of which no other facts were read."""
    decision = {"choice": "as_done", "by": "me", "at": 1}
    texts = {"clip": CLIP, "decisions": [decision], "changes": ["Turned upright."]}
    facts = ReadFacts(
        {
            **dict.fromkeys(SHOWN_FACTS, "9"),
            **{name: json.dumps(value) for name, value in texts.items()},
        }
    )
    job = replace(job_of(harness, harness.submit()), facts=facts)
    for state in State:
        for tries in ("", "1"):
            facts["tries"] = tries
            result_of(replace(job, state=state, entered_at=1), harness.producer.output)
    assert facts.names == set(SHOWN_FACTS)


IDLE: dict[str, Any] = {
    "clip_cost": 100,
    "pace": Pace(clips=0, admitted_seconds=0, clip_seconds=0, max_admitted=0),
    "flows": {},
}


def batch(paused: bool = False, committed: float = 0, **counts: int) -> Batch:
    return Batch(
        id="b",
        name="spring",
        sealed=True,
        paused=paused,
        created_at=1_000_000,
        counts={State(state): n for state, n in counts.items()},
        held_by={},
        committed=committed,
        max_credits=None,
    )


def test_the_counts_of_a_batch_add_up() -> None:
    found = batch_of(
        batch(queued=3, preparing=1, rendering=2, held=1, succeeded=4, failed=1, cancelled=1),
        **IDLE,
    )
    assert (found.open, found.running, found.total) == (6, 3, 13)
    assert found.open == found.queued + found.running
    ends = found.succeeded + found.failed + found.cancelled
    assert found.total == found.open + found.held + ends


def test_reserved_and_spent_add_up_to_what_was_committed() -> None:
    found = batch_of(batch(committed=500, generating=2, succeeded=3), **IDLE)
    assert (found.credits_reserved, found.credits_spent) == (200, 300)
    found = batch_of(batch(committed=50, generating=2), **IDLE)
    assert (found.credits_reserved, found.credits_spent) == (50, 0)


def test_the_eta_follows_the_concurrency_and_the_pace_of_recent_clips() -> None:
    pace = Pace(clips=9, admitted_seconds=60, clip_seconds=90, max_admitted=10)

    def eta(paused: bool = False, pace: Pace = pace, **counts: int) -> float | None:
        flows = {"b:normal": counts.get("queued", 0), "other:normal": 10}
        found = batch_of(batch(paused=paused, **counts), clip_cost=100, pace=pace, flows=flows)
        return found.eta_seconds

    assert eta(queued=100) == 9 * 60 + 90 + 60, "ten jobs of the other flow are admitted in between"
    assert eta(rendering=1) == 45
    mixed = {"b:high": 8, "b:low": 2, "other:normal": 50}
    found = batch_of(batch(queued=10), clip_cost=100, pace=pace, flows=mixed)
    assert found.eta_seconds == 60 + 90, "the two of low priority wait for eight others"
    alone = replace(batch(queued=10), shared=True)
    found = batch_of(alone, clip_cost=100, pace=pace, flows=mixed)
    assert found.eta_seconds == 9 * 60 + 90, "one after another, whatever else waits"
    assert eta(queued=5, pace=replace(pace, clips=0)) == 240, "the typical time of a clip"
    assert eta(queued=10, pace=replace(pace, max_admitted=0)) is None, "there is no worker"
    assert eta(paused=True, queued=10, succeeded=5) is None
    assert eta(succeeded=5, held=2) == 0
