"""Estimates of the time that jobs will take."""

from collections.abc import Mapping
from math import ceil
from typing import Final

from worker.ledger.model.batches import Pace
from worker.ledger.model.states import PRIORITY_WEIGHTS

TYPICAL_ADMITTED_SECONDS: Final = 180.0
"""From admission to a settled draft: generations take 30 to 300 s. Used before the first clip."""
TYPICAL_CLIP_SECONDS: Final = 240.0
"""From admission to the clip, by the times in docs/video-api.md, "Calls". Used as above."""


def estimate_seconds(
    queued: int, running: int, pace: Pace, *, concurrency: int, ahead: int = 0
) -> float:
    """Estimate the seconds until jobs have ended.

    Args:
        queued: Jobs that have not been admitted.
        running: Jobs that have been admitted.
        pace: How long recent clips took.
        concurrency: How many jobs run at a time.
        ahead: Other jobs that are admitted before the last of these.
    """
    admitted = pace.admitted_seconds if pace.clips else TYPICAL_ADMITTED_SECONDS
    clip = pace.clip_seconds if pace.clips else TYPICAL_CLIP_SECONDS
    if queued:
        # A job is admitted as soon as another has settled. The last one then takes all its steps.
        waves = ceil((queued + ahead + running) / max(1, concurrency))
        return (waves - 1) * admitted + clip
    # Of n jobs that were admitted at random times, the last has n / (n + 1) of its time left.
    return clip * running / (running + 1)


def latest_seconds(
    queued: int, running: int, slowest: Pace, *, concurrency: int, ahead: int = 0
) -> float:
    """Return the seconds until jobs have ended, if each takes as long as it may.

    The arguments are as in ``estimate_seconds``; ``slowest`` has the longest times, not the means.
    """
    waves = ceil((queued + ahead + running) / max(1, concurrency)) if queued else 1
    return (waves - 1) * slowest.admitted_seconds + slowest.clip_seconds


def waiting_by_priority(queued: int, flows: Mapping[str, int], batch_id: str) -> dict[str, int]:
    """Return how many queued jobs of a batch have each priority.

    Jobs that are in no flow of the batch count as jobs of normal priority.
    """
    waiting = {
        priority: flows[f"{batch_id}:{priority}"]
        for priority in PRIORITY_WEIGHTS
        if f"{batch_id}:{priority}" in flows
    }
    rest = max(0, queued - sum(waiting.values()))
    return {**waiting, "normal": waiting.get("normal", 0) + rest} if rest else waiting


def jobs_ahead(waiting: Mapping[str, int], flows: Mapping[str, int], batch_id: str) -> int:
    """Return how many other jobs are admitted before the last one of a batch.

    Args:
        waiting: How many jobs of the batch wait, by priority.
        flows: How many jobs wait in each active flow.
        batch_id: The batch, whose own flows do not count.
    """
    others = []
    for flow, jobs in flows.items():
        batch, _, priority = flow.rpartition(":")
        if batch != batch_id:
            others.append((jobs, PRIORITY_WEIGHTS.get(priority, 1)))

    def ahead_of(ours: int, weight: int) -> int:
        return sum(min(jobs, ceil(ours * other / weight)) for jobs, other in others)

    return max(
        (ahead_of(ours, PRIORITY_WEIGHTS[priority]) for priority, ours in waiting.items()),
        default=0,
    )
