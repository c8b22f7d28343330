"""Errors of requests that callers handle without a client of HTTP, which is slow to import."""


class WrongEnvironmentError(Exception):
    """A variable of the environment holds what cannot be used. The text says what to do."""
