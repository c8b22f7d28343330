"""The refusal of a file that a job names: what is wrong with it and what to do about it."""

from typing import Literal

RefusalCode = Literal[
    "unsupported_file",
    "file_too_large",
    "bad_image",
    "forbidden_source",
    "bad_request",
    "source_unreachable",
]


class FileRefusedError(Exception):
    """A file that cannot be used. The job fails.

    Attributes:
        code: The reason code of the failed job (``unsupported_file`` and ``file_too_large``
            are the video API's codes 4001 and 4002).
        message: What is wrong, for people.
        remedy: What to do about it.
        repeatable: Whether the same file may be usable later.
        wait: The seconds after which its server wants to be asked again, if it said so.
    """

    def __init__(
        self,
        code: RefusalCode,
        message: str,
        remedy: str,
        *,
        repeatable: bool = False,
        wait: float | None = None,
    ) -> None:
        super().__init__(code, message, remedy)
        self.code = code
        self.message = message
        self.remedy = remedy
        self.repeatable = repeatable
        self.wait = wait

    def __str__(self) -> str:
        """Return the message alone: callers show the remedy beside it."""
        return self.message
