"""Addresses of files and folders in stores, such as ``s3://bucket/folder/file``.

The path is not parsed as that of a URL: stores allow ``?``, ``#`` and ``%`` in names.
"""

import re
from dataclasses import dataclass
from typing import Final, Self

SCHEMES: Final = ("s3", "gs", "az", "sftp")
"""Schemes of the stores that source files may be read from."""

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_SERVER: Final = re.compile(r"([A-Za-z0-9._-]+@)?([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\\]")
_EXPECTED: Final = (
    "must name a bucket, as in s3://bucket/folder",
    "must name a server and no password, as in sftp://user@host/folder",
)
_FORMS: Final = ", ".join(f"{scheme}://" for scheme in SCHEMES)


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """A file or a folder in a store.

    Attributes:
        scheme: One of `SCHEMES`.
        place: The bucket or container, or the server with the user and the port.
        path: The names of the folders, and of the file.
    """

    scheme: str
    place: str
    path: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address.

        Raises:
            ValueError: It is not an address in such a store. The text says what is expected.
        """
        found = _SCHEME.match(text)
        scheme = found[1].lower() if found else ""
        if "::" in text or scheme not in SCHEMES or found is None:
            raise ValueError(f"must be an address in one store ({_FORMS}), without ::")
        place, _, rest = text[found.end() :].partition("/")
        if not (_SERVER if scheme == "sftp" else _BUCKET).fullmatch(place):
            raise ValueError(_EXPECTED[scheme == "sftp"])
        path = tuple(rest.rstrip("/").split("/")) if rest.strip("/") else ()
        if any(part in ("", ".", "..") or _CONTROL.search(part) for part in path):
            raise ValueError(
                "must not contain an empty name, the name . or .., a backslash or a control "
                "character"
            )
        return cls(scheme, place.lower() if scheme == "sftp" else place, path)

    def __str__(self) -> str:
        """Return the address."""
        return f"{self.root}/{self.key}"

    @property
    def root(self) -> str:
        """The address of the bucket or the server."""
        return f"{self.scheme}://{self.place}"

    @property
    def key(self) -> str:
        """The path in the bucket or on the server, without a leading slash."""
        return "/".join(self.path)

    def is_under(self, folder: Self) -> bool:
        """Return whether this lies in a folder of the same bucket or server."""
        depth = len(folder.path)
        return (
            (self.scheme, self.place) == (folder.scheme, folder.place)
            and len(self.path) > depth
            and self.path[:depth] == folder.path
        )


def is_store_address(text: str) -> bool:
    """Return whether a text starts with one of the `SCHEMES`."""
    found = _SCHEME.match(text)
    return found is not None and found[1].lower() in SCHEMES
