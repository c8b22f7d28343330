"""Checks what a failover of the Redis server would lose, by its ``INFO replication``."""

from typing import Any

from redis.exceptions import RedisError

from worker.ledger.ledger import Ledger
from worker.runtime.checks.durability import CheckResult, online_replicas


def check_failover(ledger: Ledger, *, has_sentinel: bool) -> CheckResult:
    """Check what a failover to a replica would lose. None of it prevents payments."""
    redis: Any = ledger.redis
    info, needed = redis.info("replication"), ledger.replicas.count
    online = online_replicas(info)
    name = "failover"
    connected = int(info.get("connected_slaves", 0))
    if connected > online:
        return CheckResult(
            name,
            ok=False,
            found=f"at risk: {connected - online} of {connected} replicas are not in sync",
            remedy="wait until they have loaded the data, or read their logs",
        )
    if not online and (has_sentinel or needed):
        return CheckResult(
            name,
            ok=False,
            found="not possible: no replica is connected",
            remedy="start a replica, and check its `master_link_status`",
        )
    if not online:
        return CheckResult(name, ok=True, found="no replicas, none expected")
    if not needed:
        risk = "a failover can lose the last writes: set REELQUEUE_REPLICAS=1 to prevent that"
        return CheckResult(name, ok=True, found=f"{online} replicas, none must confirm; {risk}")
    return _write_guard(redis, online, needed)


def _write_guard(redis: Any, online: int, needed: int) -> CheckResult:  # noqa: ANN401 - see Ledger
    """Check that a primary that has lost its replicas stops taking writes."""
    try:
        found = str(redis.config_get("min-replicas-to-write")["min-replicas-to-write"])
    except (RedisError, KeyError):
        found = "unreadable"
    return CheckResult(
        "failover",
        found.isdecimal() and int(found) >= needed,
        f"{online} replicas, {needed} must confirm; min-replicas-to-write {found}",
        f"set min-replicas-to-write {needed}: otherwise a primary that has lost its replicas "
        "accepts writes that are lost when it comes back as a replica",
    )
