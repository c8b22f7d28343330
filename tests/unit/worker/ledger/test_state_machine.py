"""The scripts against a plain model, in random histories, with scripts also run twice.

A client repeats a script whose reply was lost: a second run must answer the same and leave the
records as they were. After every step the invariants of the protocol hold.
"""

import random
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    run_state_machine_as_test,
)
from redis import Redis

from tests.unit.worker.ledger.machine import Machine


@pytest.mark.long
def test_random_histories_keep_the_invariants(redis: Redis) -> None:
    """200 histories of 50 steps; a failure prints its steps."""
    Machine.redis = redis
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=200,
            stateful_step_count=50,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
        ),
    )


SEEN = {
    *("OK", "ALREADY", "CLOSED", "COOLING", "NO_SLOT", "NO_CREDIT", "BUDGET"),
    *("polls claimed", "polls committed"),
}
"""Verdicts of begin_paid, and work on polls, that the walks must have met."""


def walk(machine: Machine, chance: random.Random) -> None:
    """Run one long history, longer than a history that hypothesis can shrink."""
    machine.begin_empty()
    for _ in range(150):
        which, twice = chance.randrange(6), chance.random() < 0.3
        match chance.randrange(26):
            case 0 | 1 if len(machine.model.jobs) < 6:
                priority = chance.choice(["high", "normal", "low"])
                machine.submit(in_batch=chance.random() < 0.7, priority=priority, twice=twice)
            case 0 | 1 if len(machine.model.jobs) < 12:
                machine.submit_row(which % 2, chance.randrange(3), chance.random() < 0.5, twice)
            case _ if not machine.model.jobs:
                continue
            case 2:
                machine.later(chance.choice([0.001, 1, 10, 31, 62, 400]))
            case 3:
                machine.world(
                    chance.choice(["balance", "balance", "429", "pause", "resume"]), twice
                )
            case 4:
                requests = ["release", "as_done", "pay_again", "retry", "acknowledge", "cancel"]
                machine.person(which, chance.choice(requests), chance.randrange(2), twice)
            case 5:
                what = chance.choice(["heartbeat", "accepted", "ended", "withdraw_intent"])
                machine.at_work(which, what, chance.choice([0, 0, 1]), twice)
            case 6:
                machine.begin_paid(
                    which, chance.choice([0, 1]), chance.choice([0, 1, -1]), True, twice
                )
            case 7:
                machine.due(admit=chance.randrange(5), room=chance.randrange(4))
            case 8:
                machine.claim(which, "w2", twice)
            case 9:
                machine.claim_polls("w2", chance.randrange(1, 4), twice)
            case 10:
                machine.commit_polls(chance.choice([0, 0, 1]), 5, twice)
            case _:
                machine.live(which, [chance.randrange(10) for _ in range(3)], twice)
        machine.check_protocol()


@pytest.mark.long
def test_long_histories_keep_the_invariants(redis: Redis, seed: int) -> None:
    """At least 20 walks of 150 steps, and more until all verdicts were met."""
    Machine.redis = redis
    chance = random.Random(seed)
    verdicts: Counter[str] = Counter()
    for number in range(100):
        machine = Machine()
        walk(machine, chance)
        verdicts += machine.verdicts
        if number >= 19 and verdicts.keys() >= SEEN:
            return
    pytest.fail(f"verdicts never met: {SEEN - verdicts.keys()}")
