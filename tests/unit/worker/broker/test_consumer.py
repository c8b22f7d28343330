"""A line about the broker that would be logged at each try is logged once in a while."""

import logging

from worker.broker.consumer import _OnceInAWhile


def line(text: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("celery", logging.WARNING, __file__, 1, text, arguments, None)


def test_a_line_that_repeats_is_dropped_and_another_is_not() -> None:
    once = _OnceInAWhile()
    assert once.filter(line("lost %s (%r): %s", "redis", "full", "first try"))
    assert not once.filter(line("lost %s (%r): %s", "redis", "full", "second try"))
    assert once.filter(line("lost %s (%r): %s", "redis", "read-only", "first try"))
    assert once.filter(line("connected"))
