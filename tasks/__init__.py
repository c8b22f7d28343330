"""The Python API: submit image jobs, and follow and control them.

The functions use the settings of this process: environment variables, or a file ``.env``.

The modules of the API are imported when one of its names is first used, because most programs need
few of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

import worker  # noqa: F401 - raises an error if another package hides `config`

if TYPE_CHECKING:
    from tasks.python_api import (
        Answer,
        Batch,
        ImageJob,
        InvalidPayloadError,
        KeyConflict,
        NotSayable,
        RedisUnavailable,
        Result,
        Submission,
        UnknownId,
        cancel,
        get,
        redo,
        release,
        retry,
        say,
        submit,
        submit_batch,
        wait,
    )

__all__ = [
    "Answer",
    "Batch",
    "ImageJob",
    "InvalidPayloadError",
    "KeyConflict",
    "NotSayable",
    "RedisUnavailable",
    "Result",
    "Submission",
    "UnknownId",
    "cancel",
    "get",
    "redo",
    "release",
    "retry",
    "say",
    "submit",
    "submit_batch",
    "wait",
]


def __getattr__(name: str) -> object:
    """Return a public function or class (PEP 562).

    Raises:
        AttributeError: The API has no such name.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("tasks.python_api"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
