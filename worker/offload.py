"""Where blocking native work runs: in a thread of its own under gevent, else right here.

Decoding, hashing and disk writes never yield to gevent's hub. Run in a greenlet they would stop
every open stream of the process, heartbeats and leases with them.
"""

from collections.abc import Callable
from contextvars import copy_context
from typing import ParamSpec, TypeVar, cast

import gevent
from gevent import monkey

P = ParamSpec("P")
T = TypeVar("T")


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
    pool = gevent.get_hub().threadpool
    return cast("T", pool.apply(context.run, (function, *args), kwargs))
