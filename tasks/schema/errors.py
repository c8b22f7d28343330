"""Errors of the Python API. Their texts are for people, and say what to do."""

from pydantic import ValidationError

from config.validation_messages import validation_message


class InvalidPayloadError(ValueError):
    """The payload is invalid. ``problems`` and the text name each wrong field."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems

    @classmethod
    def from_validation(cls, error: ValidationError) -> "InvalidPayloadError":
        """Convert an error of pydantic. The rejected values are left out: they may be secret."""
        details = error.errors(include_url=False, include_input=False)
        return cls(
            [
                ": ".join(
                    filter(None, [".".join(map(str, detail["loc"])), validation_message(detail)])
                )
                for detail in details
            ]
        )


class KeyConflict(ValueError):  # noqa: N818 - named for what happened
    """The key was used with another payload. Nothing was enqueued."""


class BatchNameTaken(ValueError):  # noqa: N818 - as above
    """The batch of this name belongs to another manifest. Nothing was enqueued."""


class UnknownId(LookupError):  # noqa: N818 - as above
    """There is no job or batch with this id."""


class AmbiguousId(UnknownId):
    """An abbreviated id or a name fits several jobs or batches. The text lists them."""


class RedisUnavailable(ConnectionError):  # noqa: N818 - as above
    """Redis does not answer, or returned an error. The text holds no password."""


class NotSayable(ValueError):  # noqa: N818 - as above
    """The job cannot take this request in its current state."""
