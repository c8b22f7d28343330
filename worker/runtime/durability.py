"""Checks whether Redis keeps what is written to it, without which no paid message is sent."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import RedisError

from worker.ledger.ledger import Ledger

CHECKS: Final = ("Redis", "append-only file", "appendfsync", "eviction", "memory")
"""The names of all checks that can stop payments."""
MAX_MEMORY_SHARE: Final = 0.9
"""Share of Redis's memory limit above which nothing is paid: a full server rejects writes."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check, and what to do if it failed."""

    check: str
    ok: bool
    found: str
    remedy: str = ""


def check_durability(ledger: Ledger) -> list[CheckResult]:
    """Check the append-only file, its fsync policy, the eviction policy and the memory.

    Raises:
        RedisError: The server does not answer.
    """
    redis: Any = ledger.redis
    persistence, memory = redis.info("persistence"), redis.info("memory")
    aof_enabled = persistence.get("aof_enabled") == 1
    fsync = _config(redis, "appendfsync")
    eviction = str(memory.get("maxmemory_policy", "unknown"))
    limit, used = int(memory.get("maxmemory", 0)), int(memory.get("used_memory", 0))
    return [
        CheckResult(
            "append-only file",
            aof_enabled,
            "on" if aof_enabled else "off",
            "start Redis with `appendonly yes`",
        ),
        CheckResult(
            "appendfsync",
            fsync != "no",
            fsync,
            "set `appendfsync everysec` or `always`: with `no`, a payment may never reach the disk",
        ),
        CheckResult(
            "eviction",
            eviction == "noeviction",
            eviction,
            "set `maxmemory-policy noeviction`: an evicted record is a lost job",
        ),
        CheckResult(
            "memory",
            limit == 0 or used <= limit * MAX_MEMORY_SHARE,
            f"{used >> 20} MiB used" + (f" of {limit >> 20} MiB" if limit else ", no limit"),
            "give Redis more memory, or prune finished jobs",
        ),
    ]


def reasons_not_to_pay(ledger: Ledger) -> tuple[CheckResult, ...]:
    """Return the checks that failed; payments need all of them."""
    try:
        return tuple(result for result in check_durability(ledger) if not result.ok)
    except RedisError as error:
        found = f"not answering ({error})"
        return (CheckResult("Redis", ok=False, found=found, remedy="check that it runs"),)


def describe(results: Iterable[CheckResult]) -> str:
    """Format failed checks as a sentence; empty for none."""
    return "; ".join(f"{result.check} is {result.found}: {result.remedy}" for result in results)


def _config(redis: Any, name: str) -> str:  # noqa: ANN401 - see Ledger
    # Managed servers forbid CONFIG. WAITAOF still fails there if a write is not on disk.
    try:
        return str(redis.config_get(name).get(name, "unknown"))
    except RedisError:
        return "not readable"
