"""What work costs: commands and connections of a Redis server, CPU time and memory of processes."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from redis import Redis

from tests.support.processes import ROOT
from worker.ledger.connections.connection import replies

MAXRSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024
SCRIPT_CALLS = ("evalsha", "eval", "evalsha_ro", "fcall")


@dataclass(frozen=True, slots=True)
class RedisCost:
    """Counts of a Redis server since it started, or differences of such counts.

    Attributes:
        commands: Commands, with those inside scripts.
        scripts: Calls of scripts.
        publishes: Messages published to channels.
        pushes: Commands that put messages into queues of the broker, one or many.
        connections: Connections that were opened.
    """

    commands: float
    scripts: float
    publishes: float
    pushes: float
    connections: float

    def since(self, before: "RedisCost") -> "RedisCost":
        """Return what was added since another count."""
        return self._combined(before, -1)

    def plus(self, other: "RedisCost") -> "RedisCost":
        """Return the sum of two differences."""
        return self._combined(other, 1)

    def per(self, number: float) -> "RedisCost":
        """Return the counts divided by a number."""
        return RedisCost(*(getattr(self, field.name) / number for field in fields(self)))

    def without(self, idle: "RedisCost", seconds: float) -> "RedisCost":
        """Return the counts without those of periodic work, given a second, for some seconds."""
        return self._combined(idle, -seconds)

    def _combined(self, other: "RedisCost", weight: float) -> "RedisCost":
        return RedisCost(
            *(
                getattr(self, field.name) + weight * getattr(other, field.name)
                for field in fields(self)
            )
        )


def redis_cost(redis: Redis) -> RedisCost:
    """Return the counts of a server. The reading itself counts as a few commands."""
    with redis.pipeline(transaction=False) as pipe:
        pipe.info("stats")
        pipe.info("commandstats")
        stats, by_command = replies(pipe)
    return RedisCost(
        commands=stats["total_commands_processed"],
        scripts=sum(_calls(by_command, name) for name in SCRIPT_CALLS),
        publishes=_calls(by_command, "publish"),
        pushes=_calls(by_command, "lpush"),
        connections=stats["total_connections_received"],
    )


def commands_by_name(redis: Redis) -> dict[str, int]:
    """Return how often each command ran, with those inside scripts."""
    found: Any = redis.info("commandstats")
    return {name.removeprefix("cmdstat_"): int(entry["calls"]) for name, entry in found.items()}


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process with its threads and the children that it has waited for."""
    values = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    # utime, stime, cutime and cstime: fields 14 to 17 of proc(5).
    return sum(map(int, values[11:15])) / os.sysconf("SC_CLK_TCK")


def tree_cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process with its threads and all its children.

    Children that have ended count once their parent has waited for them.
    """
    return sum(map(_cpu_seconds_or_none, _tree(pid)))


def tree_memory(pid: int) -> int:
    """Return the bytes of memory of a process and its children, shared pages counted once (PSS)."""
    return sum(map(_memory, _tree(pid)))


@dataclass(frozen=True, slots=True)
class CommandCost:
    """The output of a process, its duration and CPU time in seconds, and its peak size in bytes."""

    output: bytes
    seconds: float
    cpu: float
    size: int


def run_measured(command: Sequence[str], env: Mapping[str, str]) -> CommandCost:
    """Run a command to its end, with ``env`` added to the environment, and measure it.

    Raises:
        SystemExit: It failed.
    """
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **env}, stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout as output:
        printed = output.read()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return CommandCost(
        printed, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * MAXRSS_UNIT
    )


def _tree(pid: int) -> Iterator[int]:
    yield pid
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [child for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it has ended
        return
    for child in children:
        yield from _tree(int(child))


def _cpu_seconds_or_none(pid: int) -> float:
    try:
        return cpu_seconds(pid)
    except OSError:  # it has ended
        return 0.0


def _memory(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:  # it has ended
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _calls(by_command: Mapping[str, Any], name: str) -> int:
    entry = by_command.get(f"cmdstat_{name}")
    return int(entry["calls"]) if entry else 0
