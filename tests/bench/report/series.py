"""Runs several measurements one after another."""

import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

Runs = Mapping[str, Mapping[str, object]]
"""Measurements, each with its options that differ from their defaults."""


def run_series(runs: Runs, folder: Path) -> Iterator[Any]:
    """Run measurements, and yield what each prints, with its options and its duration."""
    for name, chosen in runs.items():
        bench = import_module(f"tests.bench.{name}")
        assert chosen.keys() <= bench.OPTIONS.keys(), name
        defaults = {option: default for option, (default, _) in bench.OPTIONS.items()}
        began = time.monotonic()
        yield " ".join([f"WHAT={name}", *(f"{key}={value}" for key, value in chosen.items())])
        own = folder / name
        own.mkdir()
        yield from bench.run(Namespace(**{**defaults, **chosen}), own)
        yield f"{time.monotonic() - began:.0f} s\n"
