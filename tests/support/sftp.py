"""A real SFTP server on loopback that serves a folder to one user with one key."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import paramiko


class _Login(paramiko.ServerInterface):  # type: ignore[misc]
    def __init__(self, key: paramiko.PKey) -> None:
        self._key = key

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        is_right = username == "me" and key == self._key
        return int(paramiko.AUTH_SUCCESSFUL if is_right else paramiko.AUTH_FAILED)

    def get_allowed_auths(self, _username: str) -> str:
        return "publickey"

    def check_channel_request(self, _kind: str, _channel: int) -> int:
        return int(paramiko.OPEN_SUCCEEDED)


class _Files(paramiko.SFTPServerInterface):  # type: ignore[misc]
    def __init__(self, _server: object, root: Path) -> None:
        self._root = root

    def _path(self, name: str) -> Path:
        return self._root / name.lstrip("/")

    def canonicalize(self, path: str) -> str:
        return "/" + str(self._path(path).resolve().relative_to(self._root)).lstrip(".")

    def list_folder(self, path: str) -> Any:
        try:
            entries = sorted(self._path(path).iterdir())
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)
        return [paramiko.SFTPAttributes.from_stat(entry.lstat(), entry.name) for entry in entries]

    def stat(self, path: str) -> Any:
        try:
            return paramiko.SFTPAttributes.from_stat(self._path(path).stat())
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)

    lstat = stat

    def open(self, path: str, flags: int, _attributes: object) -> Any:
        handle = paramiko.SFTPHandle(flags)
        try:
            handle.readfile = self._path(path).open("rb")
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)
        handle.stat = lambda: paramiko.SFTPAttributes.from_stat(os.fstat(handle.readfile.fileno()))
        return handle


@contextmanager
def sftp_server(root: Path, home: Path) -> Iterator[str]:
    """Serve a folder until the block ends, and write a user's key and known hosts into a home."""
    host_key, user_key = paramiko.ECDSAKey.generate(), paramiko.ECDSAKey.generate()
    folder = home / ".ssh"
    folder.mkdir(parents=True)
    user_key.write_private_key_file(str(folder / "id_ecdsa"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        name = f"[127.0.0.1]:{port}"
        line = f"{name} {host_key.get_name()} {host_key.get_base64()}\n"
        (folder / "known_hosts").write_text(line)
        transports: list[paramiko.Transport] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    transport = paramiko.Transport(connection)
                    transports.append(transport)
                    transport.add_server_key(host_key)
                    transport.set_subsystem_handler("sftp", paramiko.SFTPServer, _Files, root)
                    with suppress(EOFError, paramiko.SSHException):
                        transport.start_server(server=_Login(user_key))

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"sftp://me@127.0.0.1:{port}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for transport in transports:
                transport.close()
            thread.join(30)
