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
        wait: How many seconds its server asks clients to wait before the next request, if it does.
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


def too_large(source: str, max_bytes: int) -> FileRefusedError:
    """Return the error for a file over the size limit.

    Args:
        source: The URL or the path of the file.
        max_bytes: The limit.
    """
    return FileRefusedError(
        "file_too_large",
        f"{without_secrets(source)} is larger than {max_bytes / 10**6:g} MB.",
        "Compress or scale down the image, or trim the clip, and submit it again.",
    )


def without_secrets(url: str) -> str:
    """Return a URL for messages: cut, and without its query, user name and password."""
    bare = url.split("?", 1)[0].split("#", 1)[0]
    scheme, mark, rest = bare.partition("://")
    return f"{scheme}{mark}{rest.rsplit('@', 1)[-1]}"[:200]
