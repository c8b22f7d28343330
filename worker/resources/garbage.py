"""How often Python's garbage collector looks for unreachable cycles of objects."""

import gc
from typing import Final

YOUNG_OBJECTS: Final = 20_000
"""New objects after which the youngest generation is examined. Python's default is 700."""
YOUNG_PASSES: Final = 20
MIDDLE_PASSES: Final = 50
"""Passes of a generation after which the next older one is examined. Python's default is 10."""


def collect_less_often() -> None:
    """Examine fewer objects, and less often. Call it once a process, after all imports.

    A job leaves almost no cycles, but looking for them took 1.7 ms of processor time a job.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, YOUNG_PASSES, MIDDLE_PASSES)
