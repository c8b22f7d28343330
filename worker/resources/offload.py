"""Offloads blocking native work to a thread under gevent. Without gevent, the caller runs it.

Decoding, hashing and disk writes never yield to gevent's hub. In a greenlet they would stop all
other greenlets of the process, with the open streams and the heartbeats.
"""

# ruff: noqa: PLC0415 - a process without gevent starts faster when it does not import it
import sys
from collections.abc import Callable
from contextvars import copy_context
from enum import StrEnum
from functools import cache, partial
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar, cast

from worker.resources.cpus import usable_cpus

if TYPE_CHECKING:
    from gevent.threadpool import ThreadPool

P = ParamSpec("P")
T = TypeVar("T")

_WAITING_THREADS: Final = 50
"""Threads for each kind of calls that wait for other servers. They need little memory, no CPU."""
_JOURNAL_THREADS: Final = 10
"""Threads for the payment journal, which wait for the disk most of the time."""


class Waiting(StrEnum):
    """Kinds of calls that wait for other servers: a lookup must not queue behind slow transfers."""

    NAMES = "names"
    STORES = "stores"


def offload(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function and wait for it without blocking the other greenlets.

    The function may read and write files and call native code. It should use no socket and no lock
    that greenlets share. It has the caller's context variables, so that its log lines name the
    job. If the waiting greenlet is killed, the function still runs to its end.

    Returns:
        What the function returns.

    Raises:
        BaseException: Whatever the function raises.
    """
    if not _is_under_gevent():
        return function(*args, **kwargs)
    import gevent

    context = copy_context()
    work = partial(context.run, function, *args, **kwargs)
    return _apply(gevent.get_hub().threadpool, work)


def offload_later(function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    """Call a function as `offload` does, but do not wait for it under gevent.

    If the process ends first, it may not be called.
    """
    if not _is_under_gevent():
        function(*args, **kwargs)
        return
    import gevent

    gevent.get_hub().threadpool.spawn(function, *args, **kwargs)


def offload_journal(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function of the payment journal as `offload` does, in threads of its own.

    An entry must not wait for images and clips, because its message is to be sent soon after the
    intent.
    """
    return _offload_to("journal", function, *args, **kwargs)


def offload_decoding(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that decodes a clip as `offload` does, in as many threads as processors.

    A clip keeps a processor busy for a while. In threads of their own, clips do not delay the jobs
    that start. More threads would take more memory, and decode no clip sooner.
    """
    return _offload_to("decoding", function, *args, **kwargs)


def offload_with_timeout(
    waiting: Waiting, seconds: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Call a function that waits for another server, such as a name server.

    Under gevent, each kind has a thread pool of its own, so that these calls take no thread of
    `offload`. Without gevent it is a plain call without a timeout.

    Args:
        waiting: The kind.
        seconds: How long to wait, a free thread included. A function that takes longer still runs
            to its end.
        function: As for `offload`.
        args: Its arguments.
        kwargs: Its keyword arguments.

    Raises:
        TimeoutError: It took longer.
        BaseException: Whatever the function raises.
    """
    if not _is_under_gevent():
        return function(*args, **kwargs)
    import gevent

    with gevent.Timeout(seconds, TimeoutError("it took too long")):
        return _apply(_pool(waiting), partial(function, *args, **kwargs))


def _offload_to(kind: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function as `offload` does, in the thread pool of a kind of work."""
    if not _is_under_gevent():
        return function(*args, **kwargs)
    work = partial(copy_context().run, function, *args, **kwargs)
    return _apply(_pool(kind), work)


def _is_under_gevent() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def _apply(pool: "ThreadPool", work: Callable[[], T]) -> T:
    """Run a function in a pool, and return its result or raise its exception here."""
    value, error = pool.apply(_outcome, (work,))
    if error is not None:
        raise error
    return cast("T", value)


def _outcome(work: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    """Return the result or the exception: gevent prints exceptions that are raised in a pool."""
    try:
        return work(), None
    except BaseException as error:  # noqa: BLE001 - raised again in the caller
        return None, error


@cache
def _pool(kind: str) -> "ThreadPool":
    """Return the thread pool of a kind of work, which is made at its first use."""
    from gevent.threadpool import ThreadPool

    threads = {"journal": _JOURNAL_THREADS, "decoding": usable_cpus()}
    return ThreadPool(threads.get(kind, _WAITING_THREADS))
