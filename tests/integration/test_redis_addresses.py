"""Each spelling of REDIS_URL works alike for doctor, a worker, a submission and its result."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from redis import Redis

from tests.support.commands import run_reelqueue, wait_for_doctor
from tests.support.processes import Worker
from tests.support.stack import Stack
from tests.support.valkey import Valkey, guarded_valkey
from tests.support.waiting import free_port, wait_until
from worker.ledger.ledger import Ledger
from worker.ledger.model.states import State

pytestmark = pytest.mark.integration

PASSWORD = "p@ss:w/o#r?d&é"
needs_tls = pytest.mark.skipif(
    shutil.which("redis-server") is None or shutil.which("openssl") is None,
    reason="redis-server, which speaks TLS, or openssl is not installed",
)


@pytest.fixture(scope="module")
def stack(module_stack: Stack) -> Stack:
    """A stand-in; each test names its own Redis."""
    return module_stack


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A server with a password of special characters, and a socket."""
    with guarded_valkey(tmp_path_factory.mktemp("guarded"), PASSWORD, "s.sock") as server:
        yield server


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that is its own authority, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture(scope="module")
def tls(
    certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Valkey, int]]:
    """Debian's Redis with a TLS port beside the plain one; the TLS port."""
    port = free_port()
    server = Valkey(
        tmp_path_factory.mktemp("redis"),
        *("--tls-port", str(port), "--tls-auth-clients", "no"),
        *("--tls-cert-file", str(certificates / "cert.pem")),
        *("--tls-key-file", str(certificates / "key.pem")),
        program="redis-server",
    ).start()
    yield server, port
    server.stop()


def succeeds(stack: Stack, url: str, client: Redis, tmp_path: Path) -> None:
    """See that all parts of the service work with an address."""
    journal = (tmp_path / "journal").as_uri()  # The journal of another Redis is not paid with.
    env = {**stack.env, "REDIS_URL": url, "REELQUEUE_JOURNAL_URL": journal}
    worker = Worker("u", tmp_path / "worker.log", env)
    try:
        wait_until(
            lambda: client.exists("workers:{rq}") or not worker.alive, "it", explain=worker.text
        )
        assert worker.alive, worker.text()
        wait_for_doctor(env)
        image = str(stack.image())
        (submitted,) = run_reelqueue("submit", image, "--prompt", "x", "--json", env=env).records
        ledger = Ledger(client, "rq", lease_seconds=3)
        job_id = submitted["job_id"]

        def succeeded() -> bool:
            job = ledger.job(job_id)
            return job is not None and job.state is State.SUCCEEDED

        wait_until(succeeded, "the job", explain=worker.text)
        wait_until(lambda: client.exists(f"celery-task-meta-{job_id}"), "its result")
        assert "p@ss" not in worker.text()
    finally:
        worker.stop()


@pytest.mark.parametrize("form", ["socket", "database", "options", "raw password"])
def test_every_spelling_works_for_all_parts(
    stack: Stack, guarded: Valkey, tmp_path: Path, form: str
) -> None:
    secret, server = quote(PASSWORD, safe=""), f"127.0.0.1:{guarded.port}"
    url, db = {
        "socket": (f"unix://:{secret}@{guarded.folder}/s.sock?db=1", 1),
        "database": (f"redis://:{secret}@{server}?db=2", 2),
        "options": (f"valkey://:{secret}@{server}/3?socket_timeout=5&client_name=mine", 3),
        "raw password": (f"redis://:{PASSWORD}@{server}/4", 4),
    }[form]
    with Redis(port=guarded.port, db=db, password=PASSWORD, decode_responses=True) as client:
        succeeds(stack, url, client, tmp_path)


@needs_tls
@pytest.mark.parametrize("option", ["own authority", "none"])
def test_tls_works_for_all_parts(
    stack: Stack, tls: tuple[Valkey, int], certificates: Path, tmp_path: Path, option: str
) -> None:
    server, port = tls
    query = {"own authority": f"ssl_ca_certs={certificates}/cert.pem", "none": "ssl_cert_reqs=none"}
    with server.client() as client:
        client.flushall()
        url = f"rediss://127.0.0.1:{port}/0?{query[option]}"
        succeeds(stack, url, client, tmp_path)


@needs_tls
def test_tls_without_an_option_verifies_the_certificate(
    stack: Stack, tls: tuple[Valkey, int], tmp_path: Path
) -> None:
    env = {**stack.env, "REDIS_URL": f"rediss://127.0.0.1:{tls[1]}/0"}
    worker = Worker("v", tmp_path / "worker.log", env)
    try:
        assert worker.wait() == 2
    finally:
        worker.stop()
    assert "REDIS_URL: the Redis server" in worker.text()
    assert "?ssl_ca_certs=" in worker.text()
    assert "Traceback" not in worker.text()
    checks = run_reelqueue("doctor", "--json", env=env).records
    (redis,) = [check for check in checks if check["check"] == "redis"]
    assert not redis["ok"]
