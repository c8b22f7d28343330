"""A seed decides about all faults, and excluded faults are not injected."""

import random

from tests.faults.plan import Fault, Plan


def plan(*excluded: str) -> Plan:
    return Plan(1, 100, 10, 20, 5, 0, 0, 1, excluded)


def test_equal_seeds_give_equal_schedules() -> None:
    schedules = [list(plan().schedule(random.Random(seed))) for seed in (1, 1, 2)]
    assert schedules[0] == schedules[1] != schedules[2]
    assert all(0 <= at <= 100 for at, _ in schedules[0])
    assert sum(name == Fault.WORKER_KILLED for _, name in schedules[0]) == 20


def test_excluded_faults_are_not_scheduled() -> None:
    names = {name for _, name in plan("Redis", "Valkey").schedule(random.Random(1))}
    assert Fault.WORKER_KILLED in names
    assert not any("Redis" in name or "Valkey" in name for name in names)
