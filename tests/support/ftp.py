"""A real FTP server for tests."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.waiting import free_port, listens, wait_until


@contextmanager
def ftp_server(folder: Path) -> Iterator[str]:
    """Serve a folder to a user who may write; yields the URL with user name and password."""
    port = free_port()
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "pyftpdlib", "--interface=127.0.0.1", f"--port={port}"),
            *("--username=me", "--password=hunter2", "--write", f"--directory={folder}"),
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: listens(port), "the FTP server")
        yield f"ftp://me:hunter2@127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()
