"""Offloaded work does not block other greenlets, and its result or error is passed on."""

import subprocess
import sys
import textwrap
import threading

import pytest

from worker.resources.offload import Waiting, offload, offload_with_timeout


def run_patched(program: str) -> str:
    """Run a program in a process patched by gevent; return what it prints."""
    code = "from gevent import monkey; monkey.patch_all()\n" + textwrap.dedent(program)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_without_gevent_it_is_a_plain_call() -> None:
    def work(first: int, *, second: int) -> tuple[int, int, int]:
        return first, second, threading.get_ident()

    assert offload(work, 1, second=2) == (1, 2, threading.get_ident())


def test_a_plain_call_raises_its_exception() -> None:
    with pytest.raises(ZeroDivisionError):
        offload(divmod, 1, 0)


def test_other_greenlets_run_while_native_work_blocks() -> None:
    """The work waits, in a real thread, for a byte that another greenlet writes."""
    printed = run_patched(
        """
        import gevent, os
        from gevent.monkey import get_original
        from worker.resources.offload import offload

        reader, writer = os.pipe()
        blocking_read = get_original("os", "read")
        gevent.spawn(os.write, writer, b"x")
        with gevent.Timeout(30):
            print(offload(blocking_read, reader, 1))
        """
    )
    assert printed == "b'x'"


def test_nobody_waits_for_later_work() -> None:
    """The work waits, in a real thread, for a byte that its caller writes after the call."""
    printed = run_patched(
        """
        import gevent, os
        from gevent.monkey import get_original
        from worker.resources.offload import offload_later

        reader, writer = os.pipe()
        blocking_read, found = get_original("os", "read"), []
        with gevent.Timeout(30):
            offload_later(lambda: found.append(blocking_read(reader, 1)))
            os.write(writer, b"x")
            gevent.get_hub().threadpool.join()
            print(found)
        """
    )
    assert printed == "[b'x']"


def test_clips_that_are_decoded_keep_no_other_work_waiting() -> None:
    """All threads for clips wait, in real threads, for bytes that later work writes."""
    printed = run_patched(
        """
        import gevent, os
        from gevent.monkey import get_original
        from worker.resources.cpus import usable_cpus
        from worker.resources.offload import offload, offload_decoding

        reader, writer = os.pipe()
        blocking_read = get_original("os", "read")
        clips = 20 * usable_cpus()
        decoding = [gevent.spawn(offload_decoding, blocking_read, reader, 1) for _ in range(clips)]
        with gevent.Timeout(30):
            gevent.sleep()
            offload(get_original("os", "write"), writer, clips * b"x")
            print(b"".join(clip.get() for clip in decoding) == clips * b"x")
        """
    )
    assert printed == "True"


def test_under_gevent_arguments_results_and_context_are_passed_on() -> None:
    printed = run_patched(
        """
        import contextvars
        from gevent._threading import get_thread_ident
        from worker.resources.offload import offload

        job = contextvars.ContextVar("job")
        job.set("j-1")
        here = get_thread_ident()
        def work(first, *, second):
            return first, second, job.get(), get_thread_ident() != here
        print(offload(work, 1, second=2))
        """
    )
    assert printed == "(1, 2, 'j-1', True)"


def test_under_gevent_an_exception_keeps_its_type() -> None:
    printed = run_patched(
        """
        from worker.resources.offload import offload

        class Odd(Exception):
            pass
        def work():
            raise Odd("text")
        try:
            offload(work)
        except Odd as error:
            print(type(error).__name__, error)
        """
    )
    assert printed == "Odd text"


def test_calls_that_wait_for_other_servers_do_not_block_offloaded_work() -> None:
    """A hundred calls time out, while work is offloaded and a further call succeeds."""
    printed = run_patched(
        """
        import gevent, os
        from gevent.monkey import get_original
        from worker.resources.offload import Waiting, offload, offload_with_timeout

        reader, writer = os.pipe()
        blocking_read = get_original("os", "read")
        def ask():
            try:
                return offload_with_timeout(Waiting.NAMES, 1, blocking_read, reader, 1)
            except TimeoutError:
                return "too long"
        asking = [gevent.spawn(ask) for _ in range(100)]
        gevent.sleep(0)
        with gevent.Timeout(30):
            print(offload(len, "work"))
            print({greenlet.get() for greenlet in asking})
            os.write(writer, bytes(100))
            print(offload_with_timeout(Waiting.NAMES, 10, len, "name"))
        """
    )
    assert printed.splitlines() == ["4", "{'too long'}", "4"]


def test_the_payment_journal_does_not_wait_for_offloaded_work() -> None:
    """A hundred calls that decode images or clips use all their threads."""
    printed = run_patched(
        """
        import gevent, os
        from gevent.monkey import get_original
        from worker.resources.offload import offload, offload_journal

        reader, writer = os.pipe()
        blocking_read = get_original("os", "read")
        decoding = [gevent.spawn(offload, blocking_read, reader, 1) for _ in range(100)]
        gevent.sleep(0)
        with gevent.Timeout(30):
            print(offload_journal(len, "entry"))
            os.write(writer, bytes(100))
            print({greenlet.get() for greenlet in decoding})
        """
    )
    assert printed.splitlines() == ["5", "{b'\\x00'}"]


def test_a_host_is_looked_up_while_transfers_to_stores_are_slow() -> None:
    printed = run_patched(
        """
        import gevent, os
        from gevent.monkey import get_original
        from worker.egress.pinned_transport import resolve
        from worker.resources.offload import Waiting, offload_with_timeout

        reader, writer = os.pipe()
        blocking_read = get_original("os", "read")
        busy = [
            gevent.spawn(offload_with_timeout, Waiting.STORES, 60, blocking_read, reader, 1)
            for _ in range(60)
        ]
        gevent.sleep(0)
        with gevent.Timeout(30):
            print(resolve("127.0.0.1", 80))
            os.write(writer, bytes(60))
            gevent.joinall(busy)
        """
    )
    assert printed == "['127.0.0.1']"


def test_without_gevent_a_call_with_a_timeout_is_a_plain_call() -> None:
    assert offload_with_timeout(Waiting.NAMES, 1, threading.get_ident) == threading.get_ident()
