"""The memory that a process keeps after threads have freed large blocks."""

import subprocess
import sys

import pytest

PROGRAM = """
import re, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from worker.resources.freed_memory import return_freed_memory

def kept():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024

if sys.argv[1] == "returned":
    return_freed_memory()
threads = [ThreadPoolExecutor(1) for _ in range(8)]
before = kept()
for _ in range(3):
    for thread in threads:
        thread.submit(lambda: len(bytearray(12 * 2**20) + b".")).result()
print(kept() - before)
"""


def kept_after(mode: str) -> int:
    """Return the MB that a process keeps after its eight threads have freed 12 MB each."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_large_blocks_are_returned_to_the_system() -> None:
    kept = kept_after("kept")
    if kept < 24:
        pytest.skip("this C library returns them by itself")
    assert kept_after("returned") < kept / 4
