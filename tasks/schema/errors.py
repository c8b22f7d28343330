"""Why the producer's side refuses, in words for people."""


class KeyConflict(ValueError):  # noqa: N818 - named for what happened
    """The key is known with another payload. Nothing was enqueued."""


class BatchNameTaken(ValueError):  # noqa: N818 - as above
    """Another manifest has a batch of this name. Nothing was enqueued."""


class UnknownId(LookupError):  # noqa: N818 - as above
    """There is no job and no batch of that id."""


class RedisUnavailable(ConnectionError):  # noqa: N818 - as above
    """Redis does not answer. The text says what to do; no address in it holds a password."""


class NotSayable(ValueError):  # noqa: N818 - as above
    """The job cannot take this request in its present state. The text says what can be done."""
