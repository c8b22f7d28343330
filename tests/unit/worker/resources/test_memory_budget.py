"""The memory budget: never exceeded, first come, first served, always released."""

import os
import random
import sys
import threading
from pathlib import Path

import pytest

from tests.bench.pictures import peak_of, phone_picture
from tests.support.waiting import wait_until
from worker.media.image_headers import memory_needed
from worker.resources.memory_budget import MemoryBudget, MemoryUnavailableError


def test_the_budget_is_never_exceeded(seed: int) -> None:
    sizes = random.Random(seed).choices((1, 3, 40, 100, 500), k=60)
    memory, lock = MemoryBudget(100), threading.Lock()
    held = [0]
    most: list[int] = []

    def hold(size: int) -> None:
        with memory.reserve(size, 60):
            with lock:
                held[0] += min(size, 100)
                most.append(held[0])
            os.sched_yield()
            with lock:
                held[0] -= min(size, 100)

    threads = [threading.Thread(target=hold, args=(size,)) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == len(sizes)
    assert max(most) <= 100
    with memory.reserve(100, 0):
        pass


def test_a_large_reservation_is_not_overtaken_by_small_ones() -> None:
    memory, order = MemoryBudget(10), []

    def hold(size: int) -> None:
        with memory.reserve(size, 60):
            order.append(size)

    with memory.reserve(4, 0):
        large = threading.Thread(target=hold, args=(10,))
        large.start()
        wait_until(lambda: len(memory._waiting) == 1, "the large reservation to wait")
        small = threading.Thread(target=hold, args=(1,))
        small.start()
        wait_until(lambda: len(memory._waiting) == 2, "the small reservation to wait")
        assert order == []
    large.join()
    small.join()
    assert order == [10, 1]


def test_a_reservation_that_timed_out_reserves_nothing() -> None:
    memory = MemoryBudget(10)
    with memory.reserve(6, 0):
        with pytest.raises(MemoryUnavailableError), memory.reserve(5, 0):
            pass
        with memory.reserve(4, 0):
            pass
    with memory.reserve(10, 0):
        pass


def test_an_empty_reservation_does_not_wait() -> None:
    memory = MemoryBudget(10)

    def hold() -> None:
        with memory.reserve(10, 60):
            pass

    with memory.reserve(10, 0):
        large = threading.Thread(target=hold)
        large.start()
        wait_until(lambda: len(memory._waiting) == 1, "a large reservation to wait")
        with memory.reserve(0, 0):
            pass
    large.join()


def test_memory_is_released_when_the_work_fails() -> None:
    memory = MemoryBudget(10)
    with pytest.raises(ZeroDivisionError), memory.reserve(10, 0):
        _ = 1 // 0
    with memory.reserve(10, 0):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
def test_images_prepared_at_the_same_time_take_the_memory_of_one(tmp_path: Path) -> None:
    """As in a worker; with a budget for all of them, they decode at the same time."""
    given = phone_picture(tmp_path / "given", 2400, 1600)
    needed = memory_needed(given, "a.jpg")
    one = peak_of(given, 1, needed)
    assert one > 15, "nothing was measured"
    assert peak_of(given, 8, needed) < 2 * one
    assert peak_of(given, 8, 8 * needed, together=8) > 3 * one
