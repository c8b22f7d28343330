"""The files of an SFTP server, for reading.

The host must be in the user's known hosts. The login uses the user's SSH agent and keys. fsspec's
file system for SFTP is not used, because it accepts any host key.
"""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

from worker.file_refusal import FileRefusedError

_SECONDS: Final = 20.0
_CHUNK: Final = 1 << 20
_MAX_DEPTH: Final = 50


class SftpFolder:
    """The files of a server. Each call opens a connection.

    Args:
        url: The server, with the user and the port if they are not the usual ones.

    Raises:
        ImportError: The package ``paramiko`` is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            import paramiko  # noqa: PLC0415 - an optional dependency
        except ImportError:
            raise ImportError("the package paramiko is not installed") from None
        self._paramiko: Any = paramiko
        self._server = urlsplit(url)

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the paths of the files in a folder and its sub-folders, in order.

        Raises:
            FileRefusedError: The folders are nested too deeply.
        """
        with self._connection() as sftp:
            yield from _walk(sftp, prefix, _MAX_DEPTH)

    def copy(self, key: str, to: Path, max_bytes: int, under: str) -> bool:
        """Copy a file, whose real path must lie in the folder ``under``; False if it is larger."""
        left = max_bytes
        with self._connection() as sftp, to.open("wb") as copy:
            path = PurePosixPath(sftp.normalize(f"/{key}"))
            if not path.is_relative_to(sftp.normalize(f"/{under}")):
                raise FileRefusedError(
                    "forbidden_source",
                    f"{key} is a link out of the allowed folder.",
                    "Name the file itself, and add its folder to REELQUEUE_MEDIA_ROOTS.",
                )
            with sftp.open(str(path), "rb") as file:
                file.prefetch(min(file.stat().st_size, max_bytes + 1))
                while chunk := file.read(_CHUNK):
                    left -= len(chunk)
                    if left < 0:
                        return False
                    copy.write(chunk)
        return True

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        client = self._paramiko.SSHClient()
        client.load_system_host_keys()
        client.set_missing_host_key_policy(self._paramiko.RejectPolicy())
        try:
            try:
                client.connect(
                    self._server.hostname or "",
                    self._server.port or self._paramiko.config.SSH_PORT,
                    self._server.username,
                    timeout=_SECONDS,
                    banner_timeout=_SECONDS,
                    auth_timeout=_SECONDS,
                )
            except self._paramiko.AuthenticationException as error:
                raise PermissionError(f"the server refuses the login: {error}") from None
            sftp = client.open_sftp()
            sftp.get_channel().settimeout(_SECONDS)
            yield sftp
        finally:
            client.close()


def _walk(sftp: Any, folder: str, depth: int) -> Iterator[str]:  # noqa: ANN401 - untyped
    for entry in sorted(sftp.listdir_attr(f"/{folder}"), key=lambda entry: str(entry.filename)):
        path = f"{folder}/{entry.filename}".lstrip("/")
        if stat.S_ISDIR(entry.st_mode):
            if not depth:
                raise FileRefusedError(
                    "source_unreachable",
                    f"The folder {path} is nested more than {_MAX_DEPTH} levels deep.",
                    "Submit such folders by themselves.",
                )
            yield from _walk(sftp, path, depth - 1)
        elif stat.S_ISREG(entry.st_mode):
            yield path
