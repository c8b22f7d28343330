"""Where blocking native work runs: in a thread of its own under gevent, else right here.

Decoding, hashing and disk writes never yield to gevent's hub. Run in a greenlet they would stop
every open stream of the process, heartbeats and leases with them.
"""

from collections.abc import Callable
from contextvars import copy_context
from functools import lru_cache, partial
from typing import Final, ParamSpec, TypeVar, cast

import gevent
from gevent import monkey
from gevent.threadpool import ThreadPool

P = ParamSpec("P")
T = TypeVar("T")
Outcome = tuple[T | None, BaseException | None]

_STRANGERS: Final = 50
"""Threads for what waits for others. They cost little: each only waits."""


def offload(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function and wait for it without stopping the other greenlets.

    The function may read and write files and call native code. It should touch no socket and no
    lock that greenlets share. It sees the caller's context variables, so that its log lines name
    the job. A greenlet that is killed while it waits leaves the function running to its end.

    Returns:
        What the function returns.

    Raises:
        BaseException: Whatever the function raises.
    """
    if not monkey.is_module_patched("threading"):
        return function(*args, **kwargs)
    context = copy_context()
    work = partial(context.run, function, *args, **kwargs)
    outcome: Outcome[T] = gevent.get_hub().threadpool.apply(_outcome, (work,))
    return _result(outcome)


def offload_with_timeout(
    seconds: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Call a function that waits for somebody else's server, such as one that knows names.

    It has threads of its own under gevent: however many of them wait, work of our own goes on.
    Elsewhere it is called right here, and no time is kept.

    Args:
        seconds: The longest that it is waited for, a free thread included. What is given up runs
            on to its end.
        function: As for `offload`.
        args: Its arguments.
        kwargs: Its keyword arguments.

    Raises:
        TimeoutError: It took longer.
        BaseException: Whatever the function raises.
    """
    if not monkey.is_module_patched("threading"):
        return function(*args, **kwargs)
    with gevent.Timeout(seconds, TimeoutError("it took too long")):
        work = partial(function, *args, **kwargs)
        outcome: Outcome[T] = _pool_of_strangers().apply(_outcome, (work,))
    return _result(outcome)


def _outcome(work: Callable[[], T]) -> Outcome[T]:
    """What came of it. Gevent prints what is raised in a pool; here it is somebody's answer."""
    try:
        return work(), None
    except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
        return None, error


def _result(outcome: Outcome[T]) -> T:
    value, error = outcome
    if error is not None:
        raise error
    return cast("T", value)


@lru_cache(maxsize=1)
def _pool_of_strangers() -> ThreadPool:
    return ThreadPool(_STRANGERS)
