"""How often a worker looks for garbage."""

import subprocess
import sys

PROGRAM = """
import gc
from worker.resources.garbage import collect_less_often

usual = gc.get_threshold()
collect_less_often()
passes = []
gc.callbacks.append(lambda phase, info: passes.append(phase))
kept = [[] for _ in range(10 * usual[0])]
print(len(passes), gc.get_freeze_count() > 0)
left = []
left.append(left)
del left
kept += [[] for _ in range(10 * usual[0])]
kept += [[] for _ in range(10 * usual[0])]
print(len(passes) > 0)
"""


def test_garbage_is_collected_less_often() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["0", "True", "True"]
