"""A real S3 server on loopback, and the environment that leads to it."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote
from uuid import uuid4

import httpx

from tests.support.waiting import free_port, listens, wait_until


class S3:
    """A running server. Buckets are made by name."""

    def __init__(self, port: int, log: Path) -> None:
        self._log = log
        self.url = f"http://127.0.0.1:{port}"
        self.env: Mapping[str, str] = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": "us-east-1",
        }

    def bucket(self) -> str:
        """Make a bucket of a new name, and return the name."""
        name = f"bucket-{uuid4().hex}"
        httpx.put(f"{self.url}/{name}", timeout=60).raise_for_status()
        return name

    def requests(self, part: str) -> list[tuple[str, str]]:
        """Return the method and the path of each request whose path contains a part."""
        log = self._log.read_text(errors="replace")
        found = re.findall(r"(GET|HEAD|PUT|POST|DELETE) (\S+) HTTP", log)
        return [(method, path) for method, path in found if part in unquote(path)]


@contextmanager
def s3_server() -> Iterator[S3]:
    """Run the server for the length of a block."""
    port = free_port()
    with tempfile.NamedTemporaryFile(prefix="s3-", suffix=".log") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.s3_process", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=log,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        try:
            wait_until(lambda: listens(port), "the S3 server")
            yield S3(port, Path(log.name))
        finally:
            server.kill()
            server.wait()
