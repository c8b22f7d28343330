"""The same seed gives the same faults, and what is excluded is not injected."""

import random

from tests.faults.plan import Plan


def plan(*excluded: str) -> Plan:
    return Plan(1, 100, 10, 20, 5, 0, 0, 1, excluded)


def test_a_seed_decides_about_all_moments() -> None:
    schedules = [list(plan().schedule(random.Random(seed))) for seed in (1, 1, 2)]
    assert schedules[0] == schedules[1] != schedules[2]
    assert all(0 <= at <= 100 for at, _ in schedules[0])
    assert sum(name == "kill -9 of a worker" for _, name in schedules[0]) == 20


def test_what_is_spared_is_not_given() -> None:
    names = {name for _, name in plan("Redis", "Valkey").schedule(random.Random(1))}
    assert "kill -9 of a worker" in names
    assert not any("Redis" in name or "Valkey" in name for name in names)
