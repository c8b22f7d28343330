"""Links to clips in a bucket: made when results are read, with a real S3 server."""

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from config.redaction import REDACTED, redact
from tasks.producer import queries
from tasks.reports.signed_links import LINK_COLUMNS
from tests.support.s3 import S3, s3_server
from tests.unit.tasks.conftest import ProducerHarness, RunCommand
from worker.ledger.model.states import State
from worker.storage.store import Store

CLIP = {"key": "spring/1 ä.mp4", "poster": "spring/1 ä.jpg", "bytes": 4, "sha256": "0" * 64}
LOOK = {"width": 640, "height": 360, "seconds": 2.0, "codec": "h264"}
WEEK = 604_800


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


@pytest.fixture
def batch(
    s3: S3, monkeypatch: pytest.MonkeyPatch, run_command: RunCommand, harness: ProducerHarness
) -> str:
    """A batch of two jobs, one of which has a clip in a bucket."""
    assert run_command("--version").code == 0
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    output = f"s3://{s3.bucket()}/clips"
    monkeypatch.setenv("REELQUEUE_OUTPUT_URL", output)
    batch_id = harness.submit_batch(2)
    job_id = next(queries.list_batch_jobs(harness.producer, batch_id)).job_id
    harness.finish_step(job_id, State.SUCCEEDED, facts={"clip": json.dumps({**CLIP, **LOOK})})
    clip = harness.folder / "clip"
    clip.write_bytes(b"clip")
    for key in (CLIP["key"], CLIP["poster"]):
        Store(output).put_file(clip, str(key))
    return batch_id


def test_results_have_links_that_open_and_records_have_none(
    batch: str, run_command: RunCommand
) -> None:
    first, second = run_command("results", batch).records
    video = first["video"]
    assert httpx.get(video["link"], timeout=60).content == b"clip"
    assert httpx.get(video["poster_link"], timeout=60).content == b"clip"
    assert video["url"].startswith("s3://")
    left = datetime.fromisoformat(video["link_expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=23) < left <= timedelta(hours=24)
    assert second["video"] is None
    (record,) = run_command("status", first["job_id"], "--json").records
    assert "X-Amz-Signature" not in json.dumps(record)
    assert not set(LINK_COLUMNS) & set(record["video"])


def test_tables_and_the_gallery_have_the_links(
    batch: str, run_command: RunCommand, harness: ProducerHarness
) -> None:
    table = run_command("results", batch, "--format", "csv").out
    (row, _) = csv.DictReader(io.StringIO(table.removeprefix("\ufeff")))
    assert httpx.get(row["link"], timeout=60).content == b"clip"
    assert row["link_expires_at"]
    run_command("results", batch, "--format", "html", "-o", "page.html")
    page = (harness.folder / "page.html").read_text()
    assert "X-Amz-Signature" in page
    assert '"expires":"20' in page
    run_command("results", batch, "--format", "xlsx", "-o", "clips.xlsx")
    with zipfile.ZipFile(harness.folder / "clips.xlsx") as book:
        links = book.read("xl/worksheets/_rels/sheet1.xml.rels").decode()
    assert links.count("X-Amz-Signature") == 2


def test_the_stored_table_has_plain_addresses(
    batch: str, run_command: RunCommand, harness: ProducerHarness, tmp_path: Path, s3: S3
) -> None:
    ledger = harness.producer.ledger
    ledger.cancel_many([result.job_id for result in queries.list_jobs(harness.producer)])
    url = run_command("results", batch).records[0]["video"]["url"]
    bucket = url.split("/")[2]
    puts = {path for method, path in s3.requests(bucket) if method == "PUT" and "manifest" in path}
    (key,) = {path.partition(f"/{bucket}/")[2].partition("?")[0] for path in puts}
    Store(f"s3://{bucket}").fetch(key, tmp_path / "t")
    assert "X-Amz" not in (tmp_path / "t").read_text()


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({"REELQUEUE_LINK_SECONDS": "60"}, 60),
        ({"REELQUEUE_LINK_SECONDS": str(WEEK)}, WEEK),
        ({"AWS_SESSION_TOKEN": "t"}, 3600),
        ({"AWS_SESSION_TOKEN": "t", "AWS_CREDENTIAL_EXPIRATION": "{soon}"}, 600),
        ({"AWS_SESSION_TOKEN": "t", "AWS_CREDENTIAL_EXPIRATION": "{late}"}, 86_400),
    ],
)
def test_a_link_ends_with_its_credentials_at_the_latest(
    batch: str,
    run_command: RunCommand,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    seconds: int,
) -> None:
    ends = {"{soon}": timedelta(seconds=600), "{late}": timedelta(days=2)}
    for name, value in variables.items():
        end = ends.get(value)
        monkeypatch.setenv(name, f"{datetime.now(UTC) + end:%Y-%m-%dT%H:%M:%SZ}" if end else value)
    done = run_command("results", batch)
    found = done.records[0]["video"]["link_expires_at"]
    left = (datetime.fromisoformat(found) - datetime.now(UTC)).total_seconds()
    assert seconds - 60 < left <= seconds
    assert ("temporary credentials" in done.err) == (seconds in {3600, 600})


def test_a_life_of_more_than_a_week_is_refused(
    batch: str, run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REELQUEUE_LINK_SECONDS", str(WEEK + 1))
    refused = run_command("results", batch)
    assert (refused.code, "REELQUEUE_LINK_SECONDS" in refused.err) == (2, True)


def test_a_signed_link_is_redacted_in_logs(batch: str, run_command: RunCommand) -> None:
    link = run_command("results", batch).records[0]["video"]["link"]
    signature = link.partition("X-Amz-Signature=")[2]
    text = redact(f"GET {link} failed, https://b.example/a?x=1&sig=abc%3D&se=2 too")
    assert signature not in text
    assert "abc" not in text
    assert text.count(REDACTED) >= 2
