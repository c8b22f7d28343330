"""Result records of sample jobs, of every kind that the gallery and the tables show."""

from datetime import UTC, datetime
from typing import Any

from tasks.schema.result import Result, result_of
from worker.ledger.model.jobs import read_job
from worker.ledger.model.states import State
from worker.storage.store import Store

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
KINDS = ("succeeded",) * 7 + ("held", "failed", "rendering")

EMPTY_RECORD = result_of(
    read_job(
        {
            "v": "1",
            "id": "j",
            "state": "queued",
            "flow": "b:normal",
            "fence": "0",
            "turn": "1",
            "created_at": "1",
            "entered_at": "1",
            "payload": '{"image": "a.jpg"}',
        }
    ),
    Store("memory://results"),
    now=1,
).model_dump()
"""A record with all fields, which `result` completes."""


def result(number: int, **changes: Any) -> Result:
    """Return the record of job ``number``; its kind follows from the number."""
    state = State(changes.pop("state", KINDS[number % len(KINDS)]))
    fields: dict[str, Any] = {
        "job_id": f"00000000-0000-4000-8000-{number:012}",
        "batch_id": "b",
        "row": number + 1,
        "state": state,
        "reason": _reason(state, number),
        "image": f"photos/product-{number:05}.jpg",
        "prompt": f"Slow push-in on product {number}, soft light, 6 seconds",
        "video": video(number) if state is State.SUCCEEDED else None,
        "timeline": "Timeline (1 track): 1. Video: product (0-6s)",
        "session": {"session_id": "s", "task_id": "t", "claim_url": "https://e.org/?ct=clm_secret"},
        "paid_messages": 1,
        "credits_spent": 100,
        "credits_estimated": True,
        "progress": {"stage": state, "message": "The clip is being rendered.", "since": MOMENT},
        "created_at": MOMENT,
        "started_at": MOMENT,
        "finished_at": MOMENT if state.is_end else None,
        "data": {"sku": f"A-{number}"},
    }
    return Result.model_validate({**EMPTY_RECORD, **fields, **changes})


def video(number: int, **changes: Any) -> dict[str, Any]:
    """Return the clip of a job; every twentieth has a finding."""
    frozen = {"code": "frozen", "message": "The clip shows a single still picture."}
    fields = {
        "url": f"https://cdn.invalid/{number}.mp4",
        "source_url": None,
        "path": None,
        "bytes": 2_500_000,
        "sha256": "00",
        "width": 1920,
        "height": 1080,
        "seconds": 6.0,
        "codec": "h264",
        "poster": None,
        "quality": {"ok": number % 20 != 0, "findings": [] if number % 20 else [frozen]},
    }
    return {**fields, **changes}


def _reason(state: State, number: int) -> dict[str, str] | None:
    if state is State.HELD:
        return {
            "code": "plan",
            "message": "The plan does not allow export.",
            "remedy": f"Upgrade it, then run `reelqueue release {number}`. It is not paid again.",
        }
    if state is State.FAILED:
        return {
            "code": "bad_image",
            "message": "The file is not a picture.",
            "remedy": "Submit a JPEG.",
        }
    return None
