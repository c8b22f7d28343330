"""Journals on a local folder, on S3, and on a file system without exclusive creation."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.s3 import S3, s3_server
from worker.journal.entries import Entry
from worker.journal.journal import Journal


@pytest.fixture(scope="package")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


@pytest.fixture(params=["folder", "s3", "memory"])
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty journal store of each kind."""
    if request.param == "folder":
        return (tmp_path / "journal").as_uri()
    if request.param == "memory":
        return f"memory://{tmp_path.name}-{id(tmp_path)}/journal"
    server: S3 = request.getfixturevalue("s3")
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    return f"s3://{server.bucket()}/journal"


@pytest.fixture
def journal(address: str) -> Journal:
    return Journal.open(address, "rq")


def entry(attempt: int = 1, *, nonce: str = "mine", job_id: str = "job-1") -> Entry:
    """An entry of a job."""
    return Entry(
        job_id=job_id,
        attempt=attempt,
        turn=1,
        call=f"{job_id}:1:1:{nonce}",
        nonce=nonce,
        created_at=1_700_000_000_000,
        account="a1b2",
        session_id="s-1",
        task_id="t-1",
        baseline="hash",
        price=100,
        payload={"image": "cat.jpg", "prompt": "größer 🐈"},
        fingerprint="f",
    )
