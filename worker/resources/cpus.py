"""How many processors this process may use: by its affinity, and by the quota of its cgroup.

Sources: sched_getaffinity(2); "cpu.max" in the kernel's "Control Group v2", and
"cpu.cfs_quota_us" in "CFS Bandwidth Control" for version 1.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

CGROUPS: Final = Path("/sys/fs/cgroup")
OWN_CGROUPS: Final = Path("/proc/self/cgroup")


def usable_cpus(own: Path = OWN_CGROUPS, mounted: Path = CGROUPS) -> int:
    """Return the number of whole processors; at least 1.

    Args:
        own: The file that lists the cgroups of this process.
        mounted: Where the cgroups are mounted.
    """
    quotas = [int(quota) for quota in _quotas(own, mounted)]
    return max(1, min([_affine_cpus(), *quotas]))


def _affine_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(own: Path, mounted: Path) -> Iterator[float]:
    """Yield the quota, in processors, of each cgroup above this process that has one."""
    for line in _text(own).splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = mounted / "cpu" if controllers else mounted
        # In a container, the path may be that of the host, while its own cgroup is the root.
        inner = Path(path.strip("/"))
        for folder in dict.fromkeys((inner, *inner.parents, Path())):
            quota = _quota_of(root / folder)
            if quota is not None:
                yield quota


def _quota_of(folder: Path) -> float | None:
    words = _text(folder / "cpu.max").split() or [
        *_text(folder / "cpu.cfs_quota_us").split(),
        *_text(folder / "cpu.cfs_period_us").split(),
    ]
    try:
        quota, period = map(int, words)
    except ValueError:  # "max", or no such file
        return None
    return quota / period if quota > 0 and period > 0 else None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
