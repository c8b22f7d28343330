"""The options of `reelqueue worker` for several processes: their number and node names."""

from collections.abc import Sequence
from typing import Final

PROCESSES: Final = "--processes"
_NAMES: Final = ("--hostname", "-n")
_DETACH: Final = ("--detach", "-D")
MAX_PROCESSES: Final = 256


def split_processes(arguments: Sequence[str]) -> tuple[int | None, list[str]]:
    """Return the value of ``--processes``, or None, and the other arguments.

    Raises:
        ValueError: The value is not a number of processes, or the workers would be detached.
    """
    value, rest = _take(arguments, (PROCESSES,))
    if value is None:
        return None, rest
    if not value.isascii() or not value.isdecimal() or not 1 <= int(value) <= MAX_PROCESSES:
        raise ValueError(f"{PROCESSES} must be a number from 1 to {MAX_PROCESSES}.")
    if int(value) > 1 and is_detached(rest):
        raise ValueError(f"{PROCESSES} cannot be combined with --detach: use one of them.")
    return int(value), rest


def is_detached(arguments: Sequence[str]) -> bool:
    """Return whether the worker leaves the terminal, and so cannot be supervised."""
    return any(word in _DETACH for word in arguments)


def with_node_name(arguments: Sequence[str], number: int) -> list[str]:
    """Return the options with a node name for one of several processes: ``NAME-number@HOST``."""
    given, rest = _take(arguments, _NAMES)
    # As in Celery, a name without an @ is the name of the host.
    name, _, host = (given or "celery@%h").rpartition("@")
    return [*rest, "-n", f"{name or 'celery'}-{number}@{host or '%h'}"]


def _take(arguments: Sequence[str], names: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the last value of an option, and the arguments without the option."""
    value: str | None = None
    rest = []
    words = iter(arguments)
    for word in words:
        name, equals, attached = word.partition("=")
        if word in names:
            value = next(words, "")
        elif name in names and equals and name.startswith("--"):
            value = attached
        elif any(_is_short(option) and word.startswith(option) for option in names):
            value = word[2:]
        else:
            rest.append(word)
    return value, rest


def _is_short(option: str) -> bool:
    return not option.startswith("--")
