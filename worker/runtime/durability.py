"""Whether the Redis server keeps what it is told: the condition for paying at all."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import RedisError

from worker.ledger.ledger import Ledger

CHECKS: Final = ("Redis", "append-only file", "appendfsync", "eviction", "memory")
"""Everything that may speak against paying, by the names of the findings."""
HIGH_WATER: Final = 0.9
"""The share of Redis's memory limit from which nothing is paid: a full server loses writes."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One thing that was checked, and what to do where it is wrong."""

    check: str
    ok: bool
    found: str
    remedy: str = ""


def check_durability(ledger: Ledger) -> list[CheckResult]:
    """Check append-only file, its fsync, the eviction rule and the memory.

    Raises:
        RedisError: The server does not answer.
    """
    redis: Any = ledger.redis
    persistence, memory = redis.info("persistence"), redis.info("memory")
    fsync = _config(redis, "appendfsync")
    eviction = str(memory.get("maxmemory_policy", "unknown"))
    limit, used = int(memory.get("maxmemory", 0)), int(memory.get("used_memory", 0))
    full = limit > 0 and used > limit * HIGH_WATER
    return [
        CheckResult(
            "append-only file",
            persistence.get("aof_enabled") == 1,
            "on" if persistence.get("aof_enabled") == 1 else "off",
            "start Redis with «appendonly yes»",
        ),
        CheckResult(
            "appendfsync",
            fsync != "no",
            fsync,
            "set «appendfsync everysec» or «always»: with «no» a payment is never on disk",
        ),
        CheckResult(
            "eviction",
            eviction == "noeviction",
            eviction,
            "set «maxmemory-policy noeviction»: an evicted record is a lost job",
        ),
        CheckResult(
            "memory",
            not full,
            f"{used >> 20} MiB used" + (f" of {limit >> 20} MiB" if limit else ", no limit"),
            "give Redis more memory, or prune finished jobs",
        ),
    ]


def reasons_not_to_pay(ledger: Ledger) -> tuple[CheckResult, ...]:
    """What speaks against paying; empty when nothing does."""
    try:
        return tuple(finding for finding in check_durability(ledger) if not finding.ok)
    except RedisError as error:
        found = f"not answering ({error})"
        return (CheckResult("Redis", ok=False, found=found, remedy="see that it runs"),)


def describe(findings: Iterable[CheckResult]) -> str:
    """Findings as people read them; empty for none."""
    return "; ".join(
        f"{finding.check} is {finding.found}: {finding.remedy}" for finding in findings
    )


def _config(redis: Any, name: str) -> str:  # noqa: ANN401 - see Ledger
    # Managed servers forbid CONFIG; WAITAOF then still refuses what is not on disk.
    try:
        return str(redis.config_get(name).get(name, "unknown"))
    except RedisError:
        return "not told"
