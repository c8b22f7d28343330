"""Prevents a lasting failure from being logged at each try."""


class RepeatFilter:
    """Remembers the last failure of one operation that is tried again and again."""

    def __init__(self) -> None:
        self._last: str | None = None

    def is_new(self, failure: str) -> bool:
        """Remember a failure, and return whether it differs from the one before."""
        is_new = failure != self._last
        self._last = failure
        return is_new

    def clear(self) -> bool:
        """Forget the last failure after a success, and return whether there was one."""
        had_failure = self._last is not None
        self._last = None
        return had_failure
