"""Whether the Redis server keeps the writes that it confirms, without which nothing is paid.

Source: docs/operations.md, "Redis" and "Replicas". A setting that cannot be read counts as wrong.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import RedisError, ResponseError

from config.settings import Durability
from worker.journal.journal import Journal
from worker.journal.stores import JournalFailed
from worker.ledger.ledger import Ledger

JOURNAL: Final = "payment journal"
IDENTITY: Final = "ledger identity"
CHECKS: Final = (
    *("Redis", "version", "role", "append-only file", "appendfsync", "rewrite"),
    *("eviction", "memory", "writes", "replicas", JOURNAL, IDENTITY),
)
"""The names of all checks that can prevent payments."""
OLDEST_REDIS: Final = (7, 0)
MEMORY_LIMIT_SHARE: Final = 0.9
"""The share of Redis's memory limit above which nothing is paid: a full server loses writes."""
UNREADABLE: Final = "cannot be read"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check: what to do if it failed, else a suggestion if there is one."""

    check: str
    ok: bool
    found: str
    remedy: str = ""
    suggestion: str = ""


NOT_COMPARED: Final = CheckResult(
    IDENTITY, ok=False, found="not compared yet", remedy="Wait for the first comparison."
)
"""The result of a worker until its first check of the journal, seconds after its start."""


def check_durability(ledger: Ledger, durability: Durability) -> list[CheckResult]:
    """Check the version, the role, the append-only file, the eviction policy and the memory.

    Raises:
        RedisError: The server does not answer.
    """
    redis: Any = ledger.redis
    info = redis.info()
    role = _role(info)
    results = [server_version(info), role, _eviction(info), _memory(info)]
    if role.ok:
        results.append(_writes(ledger))
        if ledger.replicas.count:
            results.append(_replicas(ledger, info))
    if durability == "fsync":
        results += [_append_only(info), *_fsync(redis)]
    return results


def reasons_not_to_pay(ledger: Ledger, durability: Durability) -> tuple[CheckResult, ...]:
    """Return the failed checks; empty if payments are allowed."""
    try:
        results = check_durability(ledger, durability)
    except RedisError as error:
        found = f"not answering ({error})"
        return (CheckResult("Redis", ok=False, found=found, remedy="start it"),)
    return tuple(result for result in results if not result.ok)


def check_journal(journal: Journal) -> CheckResult:
    """Check that the payment journal can be used."""
    try:
        journal.check()
    except JournalFailed as error:
        return CheckResult(JOURNAL, ok=False, found=f"not usable ({error})", remedy=error.remedy)
    return CheckResult(JOURNAL, ok=True, found=f"{journal.store.address}: writable")


def online_replicas(info: Mapping[str, Any]) -> int:
    """Count the replicas that have loaded the data and follow the primary."""
    count = int(info.get("connected_slaves", 0))
    replicas = (info.get(f"slave{number}") for number in range(count))
    return sum(isinstance(each, dict) and each.get("state") == "online" for each in replicas)


def describe(results: Iterable[CheckResult]) -> str:
    """Describe failed checks in one line; empty for none."""
    return "; ".join(f"{result.check} is {result.found}: {result.remedy}" for result in results)


def server_version(info: Mapping[str, Any]) -> CheckResult:
    """Check the version of a server by its answer to INFO."""
    if "valkey_version" in info:
        return CheckResult("version", ok=True, found=f"Valkey {info['valkey_version']}")
    version = str(info.get("redis_version", "0"))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    return CheckResult(
        "version",
        numbers >= OLDEST_REDIS,
        f"Redis {version}",
        "use Redis 7.0 or newer, or Valkey",
    )


def _role(info: Mapping[str, Any]) -> CheckResult:
    if info.get("cluster_enabled") == 1:
        return CheckResult("role", ok=False, found="cluster node", remedy="use a single server")
    role = "replica" if info.get("role") == "slave" else "primary"
    remedy = "point REDIS_URL at the primary: a replica accepts no writes"
    return CheckResult("role", role == "primary", role, remedy)


def _append_only(info: Mapping[str, Any]) -> CheckResult:
    on = info.get("aof_enabled") == 1
    return CheckResult(
        "append-only file",
        on,
        "on" if on else "off",
        "start Redis with appendonly yes, or set REELQUEUE_DURABILITY=journal",
    )


def _fsync(redis: Any) -> Iterable[CheckResult]:  # noqa: ANN401 - see Ledger
    fsync = _config(redis, "appendfsync")
    rewrite = _config(redis, "no-appendfsync-on-rewrite")
    denied = "allow this user CONFIG|GET, or set REELQUEUE_DURABILITY=journal"
    yield CheckResult(
        "appendfsync",
        fsync == "always",
        fsync,
        denied
        if fsync == UNREADABLE
        else "set appendfsync always: only then is a payment on disk before Redis confirms it",
    )
    yield CheckResult(
        "rewrite",
        rewrite == "no",
        "fsync during rewrites" if rewrite == "no" else f"no-appendfsync-on-rewrite {rewrite}",
        denied
        if rewrite == UNREADABLE
        else "set no-appendfsync-on-rewrite no: otherwise no write is fsynced during a rewrite",
    )


def _eviction(info: Mapping[str, Any]) -> CheckResult:
    policy = str(info.get("maxmemory_policy", UNREADABLE))
    return CheckResult(
        "eviction",
        policy == "noeviction",
        policy,
        "set maxmemory-policy noeviction: an evicted record is a lost job",
    )


def _memory(info: Mapping[str, Any]) -> CheckResult:
    limit, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    return CheckResult(
        "memory",
        not limit or used <= limit * MEMORY_LIMIT_SHARE,
        f"{used >> 20} MiB used" + (f" of {limit >> 20} MiB" if limit else ", no limit"),
        "give Redis more memory, or prune finished jobs with `reelqueue prune`",
    )


def _writes(ledger: Ledger) -> CheckResult:
    """Write a key that expires immediately: a server that answers may still refuse every write."""
    redis: Any = ledger.redis
    try:
        redis.set(ledger.key("write_check"), 1, px=1)
    except ResponseError as error:
        found = f"refused ({str(error).partition('.')[0]})"
        remedy = (
            "free memory or disk space on the server, let its snapshots succeed, or allow this "
            "user to write"
        )
        return CheckResult("writes", ok=False, found=found, remedy=remedy)
    return CheckResult("writes", ok=True, found="accepted")


def _replicas(ledger: Ledger, info: Mapping[str, Any]) -> CheckResult:
    """Check that the replicas that must confirm an intent to pay can do so."""
    needed, online = ledger.replicas.count, online_replicas(info)
    command, *arguments = ledger.replicas.wait_command(timeout_ms=1)
    try:
        ledger.redis.execute_command(command, *arguments)
    except ResponseError as error:
        return CheckResult(
            "replicas",
            ok=False,
            found=f"not able to confirm: the server refuses {command} ({error})",
            remedy="use Redis 7.2 or newer, or Valkey, and allow this user the command; "
            "or set REELQUEUE_REPLICAS=0, or REELQUEUE_DURABILITY=journal",
        )
    return CheckResult(
        "replicas",
        online >= needed,
        f"{online} connected of {needed} that must confirm",
        "connect the missing replicas, or lower REELQUEUE_REPLICAS",
    )


def _config(redis: Any, name: str) -> str:  # noqa: ANN401 - see Ledger
    try:
        return str(redis.config_get(name)[name])
    except (RedisError, KeyError):
        return UNREADABLE
