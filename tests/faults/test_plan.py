"""The same seed gives the same faults, and what is spared is not given."""

import random

from tests.faults.plan import Plan


def plan(*spared: str) -> Plan:
    return Plan(1, 100, 10, 20, 5, 0, 0, 1, spared)


def test_a_seed_decides_about_all_moments() -> None:
    decks = [list(plan().deck(random.Random(seed))) for seed in (1, 1, 2)]
    assert decks[0] == decks[1] != decks[2]
    assert all(0 <= at <= 100 for at, _ in decks[0])
    assert sum(name == "kill -9 of a worker" for _, name in decks[0]) == 20


def test_what_is_spared_is_not_given() -> None:
    names = {name for _, name in plan("Redis", "Valkey").deck(random.Random(1))}
    assert "kill -9 of a worker" in names
    assert not any("Redis" in name or "Valkey" in name for name in names)
