"""Small runs of several measurements, in at most a minute, to see that they work.

The figures mean little: the runs are short, and share the machine with what else runs on it.
"""

import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

OPTIONS: dict[str, tuple[object, str]] = {}
RUNS: Final[Mapping[str, Mapping[str, object]]] = {
    "submit": {"rows": 2000},
    "scrape": {"jobs": 1000},
    "records": {"jobs": 5},
    "cost": {"jobs": 10, "slots": 20, "idle_seconds": 1.0},
    "processes": {"jobs": 10, "slots": 20, "stream_seconds": 0.2},
}
"""The measurements, and the options that differ from their defaults."""


def run(_options: Namespace, folder: Path) -> Iterator[Any]:
    """Run them one after another, and yield what each prints."""
    for name, chosen in RUNS.items():
        bench = import_module(f"tests.bench.{name}")
        assert chosen.keys() <= bench.OPTIONS.keys(), name
        defaults = {option: default for option, (default, _) in bench.OPTIONS.items()}
        began = time.monotonic()
        yield f"WHAT={name} {' '.join(f'{key}={value}' for key, value in chosen.items())}"
        own = folder / name
        own.mkdir()
        yield from bench.run(Namespace(**{**defaults, **chosen}), own)
        yield f"{time.monotonic() - began:.0f} s\n"
