"""A seed decides about all faults, and excluded faults are not injected."""

import random
from collections import Counter

from tests.faults.plan import BUSY_SHARE, LOSSES, Fault, Plan


def plan(*excluded: str) -> Plan:
    return Plan(
        seed=1,
        seconds=100,
        jobs=10,
        kills=20,
        intake_kills=3,
        restarts=5,
        losses=4,
        refusals=2,
        duplicated=0,
        dropped=0,
        doubled=0,
        decided=0,
        freeze_seconds=1,
        excluded=excluded,
    )


def test_equal_seeds_give_equal_schedules() -> None:
    schedules = [list(plan().schedule(random.Random(seed))) for seed in (1, 1, 2)]
    assert schedules[0] == schedules[1] != schedules[2]
    assert all(0 <= at <= 100 for at, _ in schedules[0])
    numbers = Counter(name for _, name in schedules[0])
    assert numbers[Fault.WORKER_KILLED] == 20
    assert [numbers[name] for name in LOSSES] == [4] * 4
    assert (numbers[Fault.VALKEY_OOM], numbers[Fault.VALKEY_READONLY]) == (2, 2)


def test_workers_are_killed_in_the_intake_while_submissions_come() -> None:
    schedule = plan().schedule(random.Random(1))
    moments = [at for at, name in schedule if name == Fault.INTAKE_KILLED]
    assert len(moments) == 3
    assert max(moments) <= BUSY_SHARE * 100


def test_excluded_faults_are_not_scheduled() -> None:
    names = {name for _, name in plan("Redis", "Valkey").schedule(random.Random(1))}
    assert Fault.WORKER_KILLED in names
    assert not any("Redis" in name or "Valkey" in name for name in names)
