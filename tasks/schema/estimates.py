"""What jobs will take: from the places there are, what clips took lately, and who else waits."""

from collections.abc import Mapping
from math import ceil
from typing import Final

from worker.ledger.model.batches import Pace
from worker.ledger.model.states import PRIORITY_WEIGHTS

TYPICAL_PLACE_SECONDS: Final = 180.0
"""From admission to a settled draft, before any clip was made: generations take 30 to 300 s."""
TYPICAL_CLIP_SECONDS: Final = 240.0
"""From admission to a delivered clip: renders take 30 to 90 s more. Source: the contract."""


def seconds_for(queued: int, running: int, pace: Pace, *, places: int, ahead: int = 0) -> float:
    """Seconds until so many jobs are at an end.

    Args:
        queued: Jobs that wait.
        running: Jobs that were admitted.
        pace: What clips took lately.
        places: The jobs that run at once.
        ahead: Jobs of others that come to their turn meanwhile.
    """
    place = pace.admitted_seconds if pace.clips else TYPICAL_PLACE_SECONDS
    clip = pace.clip_seconds if pace.clips else TYPICAL_CLIP_SECONDS
    if queued:
        # A place is free when the job before has settled; the last clip has all its way to go.
        waves = ceil((queued + ahead + running) / max(1, places))
        return (waves - 1) * place + clip
    # Of jobs that began at any time in a span, the last has about so much of it left.
    return clip * running / (running + 1)


def ahead_of_last(waiting: Mapping[str, int], flows: Mapping[str, int], mine: str) -> int:
    """How many jobs of other flows come to their turn before the last of ours of any priority.

    Args:
        waiting: How many of ours wait, by priority.
        flows: What waits in each active flow.
        mine: The batch's id: its own flows are not others.
    """
    return max(
        (ahead_of(jobs, priority, flows, mine) for priority, jobs in waiting.items()), default=0
    )


def waiting_of(queued: int, flows: Mapping[str, int], mine: str) -> dict[str, int]:
    """How many jobs of a batch wait, by priority, as its flows have it; else as normal ones."""
    own = (flow.rpartition(":") for flow in flows)
    known = {priority: flows[f"{mine}:{priority}"] for batch, _, priority in own if batch == mine}
    rest = max(0, queued - sum(known.values()))
    return {**known, "normal": known.get("normal", 0) + rest} if rest else known


def ahead_of(jobs: int, priority: str, flows: Mapping[str, int], mine: str) -> int:
    """How many jobs of other flows come to their turn before the last of ours.

    Args:
        jobs: How many of ours wait.
        priority: Theirs, which is their weight.
        flows: What waits in each active flow.
        mine: The batch's id: its own flows are not others.
    """
    weight = PRIORITY_WEIGHTS[priority]
    return sum(
        min(waiting, ceil(jobs * PRIORITY_WEIGHTS.get(flow.rpartition(":")[2], 1) / weight))
        for flow, waiting in flows.items()
        if flow.rpartition(":")[0] != mine
    )
