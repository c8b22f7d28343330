"""Threads for short calls."""

import subprocess
import sys
import threading

from tests.support.processes import ROOT
from tests.support.waiting import wait_until
from worker.resources.daemon_threads import DaemonThreads


def test_calls_run_at_the_same_time_and_idle_threads_are_used_again() -> None:
    threads, names, together = DaemonThreads("test"), set[int](), threading.Barrier(3)

    def meet() -> None:
        names.add(threading.get_ident())
        together.wait(30)

    for _ in range(5):
        for _ in range(3):
            threads.run(meet)
        wait_until(lambda: threads._idle._value == 3, "the threads to be idle")
    assert len(names) == 3
    threads.close()


def test_closed_threads_end_after_their_calls() -> None:
    threads, may_end = DaemonThreads("closed"), threading.Event()
    threads.run(lambda: may_end.wait(30))
    threads.close()
    assert _alive("closed") == 1
    may_end.set()
    wait_until(lambda: _alive("closed") == 0, "the thread to end")


def test_a_process_ends_while_a_call_hangs() -> None:
    code = (
        "from gevent import monkey; monkey.patch_all()\n"
        "import threading\n"
        "from worker.resources.daemon_threads import DaemonThreads\n"
        "began = threading.Event()\n"
        "DaemonThreads('hung').run(lambda: (began.set(), threading.Event().wait()))\n"
        "began.wait()\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120, check=True)


def _alive(name: str) -> int:
    return sum(thread.name == name for thread in threading.enumerate())
