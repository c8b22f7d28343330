"""Errors of requests, for callers that do not import httpx, which is slow."""


class WrongEnvironmentError(Exception):
    """A variable of the environment has a value that cannot be used. The text says what to do."""
