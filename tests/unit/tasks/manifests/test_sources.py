"""Manifests from stores and from the web, with a real S3 server and a real web server."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import time

import pytest

from tasks.manifests.formats.rejects import JsonlRejects
from tasks.manifests.manifest import Manifest
from tasks.manifests.sources import rejects_path
from tasks.producer import queries
from tests.support.s3 import S3, s3_server
from tests.unit.tasks.conftest import ProducerHarness, RunCommand
from tests.unit.worker.egress.loopback_site import LOOPBACK, Site, running_site
from tests.unit.worker.loopback_server import Reply
from worker.storage.store import Store

TABLE = b"image,prompt\nhttps://example.org/a.jpg,pan left\nhttps://example.org/b.jpg,pan right\n"


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("REELQUEUE_PRIVATE_HOSTS", LOOPBACK)
    with running_site() as found:
        yield found


@pytest.fixture
def bucket(s3: S3, monkeypatch: pytest.MonkeyPatch, harness: ProducerHarness) -> str:
    """A bucket with pictures in sub-folders, and with files that are none."""
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    name = s3.bucket()
    store = Store(f"s3://{name}/spring")
    for shade, key in enumerate(("a.png", "b c.PNG", "sub/a.png")):
        store.put_file(harness.picture("given.png", shade), key)
    text = harness.folder / "text"
    text.write_text("no picture")
    for key in ("bad.jpg", "notes.txt", "sub/list.csv", "__MACOSX/a.png", "sub/_a.txt"):
        store.put_file(text, key)
    return name


def test_a_folder_in_a_store_is_a_batch_of_its_pictures(
    bucket: str, run_command: RunCommand, harness: ProducerHarness
) -> None:
    folder = f"s3://{bucket}/spring"
    plan = run_command("batch", "submit", folder, "--dry-run", "--json").records[0]
    assert (plan["rows"], plan["good"], plan["credits"]) == (4, 3, 300)
    left_out = [found["name"] for found in plan["left_out"]]
    assert left_out == ["notes.txt", "sub/_a.txt", "sub/list.csv"]
    done = run_command("batch", "submit", f"{folder}/", "--json")
    assert (done.code, done.records[0]["jobs"]) == (0, 3)
    (rejected,) = done.records[0]["rejected"]
    assert (rejected["row"], "is not a picture" in rejected["reason"]) == (3, True)
    batch_id = done.records[0]["batch_id"]
    batch = queries.get_batch(harness.producer, batch_id)
    images = [result.image for result in queries.list_batch_jobs(harness.producer, batch_id)]
    assert batch.name == "spring"
    assert images == [f"{folder}/{name}" for name in ("a.png", "b c.PNG", "sub/a.png")]
    for job in harness.producer.ledger.jobs(
        [result.job_id for result in queries.list_jobs(harness.producer)]
    ):
        assert harness.producer.media.exists(job.payload["media"]), "copied"
    again = run_command("batch", "submit", folder, "--json").records[0]
    assert (again["jobs"], again["duplicates"]) == (0, 3)
    assert (harness.folder / "spring.rejected.csv").read_text().count("bad.jpg,3,") == 1


def test_the_same_pictures_are_known_wherever_they_lie(
    bucket: str, run_command: RunCommand, harness: ProducerHarness
) -> None:
    for shade, name in enumerate(("x.png", "y.png", "z.png")):
        harness.picture(f"local/{name}", shade)
    run_command("batch", "submit", "local", "--name", "spring")
    again = run_command("batch", "submit", f"s3://{bucket}/spring", "--name", "spring", "--json")
    assert (again.records[0]["jobs"], again.records[0]["duplicates"]) == (0, 3)


def test_a_column_of_images_and_a_single_job_take_files_in_stores(
    bucket: str, run_command: RunCommand, harness: ProducerHarness
) -> None:
    rows = [f"s3://{bucket}/spring/{name}" for name in ("a.png", "none.png", "notes.txt")]
    (harness.folder / "jobs.csv").write_text(
        "image\n" + "\n".join([*rows, "s3://photos/../y", "ftp://x/y"])
    )
    done = run_command("batch", "submit", "jobs.csv", "--json").records[0]
    reasons = {row["row"]: row["reason"] for row in done["rejected"]}
    assert done["jobs"] == 1
    assert "There is no file" in reasons[3]
    assert "is not a picture" in reasons[4]
    assert "must not contain an empty name" in reasons[5]
    assert "must be a path, an https:// address" in reasons[6]
    one = run_command("submit", rows[0], "--json")
    assert (one.code, one.records[0]["state"]) == (0, "queued")
    assert run_command("submit", rows[1]).code == 2


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("s3://{bucket}/none", "has no images"),
        ("s3://no-such-bucket/a", "There is no bucket s3://no-such-bucket"),
        ("s3://", "must name a bucket"),
        ("zip://a.zip::s3://{bucket}/spring", "is not a manifest"),
        ("s3://{bucket}/spring::x", "without ::"),
        ("ftp://example.org/a", "is not a manifest"),
        ("s3://me:secret@{bucket}/spring", "must name a bucket"),
    ],
)
def test_another_store_is_refused(
    bucket: str, run_command: RunCommand, source: str, message: str
) -> None:
    answer = run_command("batch", "submit", source.format(bucket=bucket))
    assert (answer.code, message in answer.err, answer.out) == (2, True, "")


def test_a_manifest_from_the_web_is_read_under_the_rules_of_pictures(
    site: Site, run_command: RunCommand, harness: ProducerHarness
) -> None:
    site.server.on("GET /list.csv", Reply(TABLE))
    site.server.on("GET /pub", Reply(TABLE))
    signed = f"{site.url('/list.csv')}?X-Amz-Signature=hidden"
    done = run_command("batch", "submit", signed, "--json").records[0]
    assert done["jobs"] == 2
    batch = harness.producer.ledger.batch(done["batch_id"])
    assert batch is not None
    assert (batch.name, batch.source) == ("list.csv", site.url("/list.csv"))
    again = run_command("batch", "submit", site.url("/list.csv"), "--json").records[0]
    assert (again["jobs"], again["duplicates"]) == (0, 2)
    sheet = run_command("batch", "submit", site.url("/pub?gid=1&output=csv"), "--json").records[0]
    assert sheet["jobs"] == 2


def test_a_manifest_from_the_web_names_no_files_outside_of_the_working_directory(
    site: Site,
    run_command: RunCommand,
    harness: ProducerHarness,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    harness.picture("near.png")
    other = tmp_path_factory.mktemp("other") / "far.png"
    harness.picture("near.png").rename(other)
    harness.picture("near.png")
    names = ("near.png", str(other), f"../{other.parent.name}/far.png", "~/far.png", "C:\\far.png")
    site.server.on("GET /list.csv", Reply("\n".join(["image", *names]).encode()))
    done = run_command("batch", "submit", site.url("/list.csv"), "--json").records[0]
    assert (done["jobs"], [row["row"] for row in done["rejected"]]) == (1, [3, 4, 5, 6])
    assert all("outside of the working directory" in row["reason"] for row in done["rejected"])


def test_a_manifest_that_cannot_be_downloaded_is_refused(
    site: Site, run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.server.on("GET /page.csv", Reply(b"<!doctype html><title>Sign in</title>"))
    site.server.on("GET /huge.csv", Reply(b"", headers={"Content-Length": str(200 * 10**6)}))
    over = f"/old.csv?Expires={int(time()) - 60}&Signature=hidden"
    site.server.on("GET /old.csv", Reply(b"", 403))
    for path, message in {
        "/none.csv": "returned HTTP status 404",
        "/page.csv": 'is a web page, not a manifest, titled "Sign in"',
        "/huge.csv": "is larger than 100 MB. Download it, and split it",
        over: "expired at",
    }.items():
        answer = run_command("batch", "submit", site.url(path))
        assert (answer.code, message in answer.err) == (2, True), answer.err
        assert "hidden" not in answer.err
    monkeypatch.setenv("REELQUEUE_PRIVATE_HOSTS", "")
    forbidden = run_command("batch", "submit", site.url("/list.csv"))
    assert (forbidden.code, "REELQUEUE_PRIVATE_HOSTS" in forbidden.err) == (2, True)


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        (b'{"image": "https://example.org/a.jpg"}\n', ""),
        (TABLE, ""),
        (TABLE.replace(b",", b"\t"), "?format=tsv"),
    ],
)
def test_the_kind_of_a_manifest_without_a_suffix_is_found(
    site: Site, run_command: RunCommand, content: bytes, suffix: str
) -> None:
    site.server.on("GET /d/export", Reply(content))
    done = run_command("batch", "submit", site.url(f"/d/export{suffix}"), "--json")
    assert (done.code, done.records[0]["jobs"] > 0) == (0, True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("export", b'{"image": "https://example.org/a.jpg"}\n{"image": ""}\n'),
        ("list.json", b'[{"image": "https://example.org/a.jpg"}, {"image": ""}]'),
        ("list.csv", b"image,name\nhttps://example.org/a.jpg,a\n,b\n"),
    ],
)
def test_rejected_rows_of_a_web_address_are_read_again_by_their_suffix(
    site: Site, run_command: RunCommand, harness: ProducerHarness, name: str, content: bytes
) -> None:
    site.server.on(f"GET /d/{name}", Reply(content))
    done = run_command("batch", "submit", site.url(f"/d/{name}"), "--json").records[0]
    assert (done["jobs"], len(done["rejected"])) == (1, 1)
    (written,) = harness.folder.glob("*.rejected*")
    again = run_command("batch", "submit", written.name, "--json").records[0]
    assert [row["row"] for row in again["rejected"]] == [1 if written.suffix == ".jsonl" else 2]


def test_rejected_rows_of_other_places_are_written_into_the_working_directory() -> None:
    table = Manifest("", Path(), iter(()))
    assert rejects_path("s3://bucket/spring", table) == Path("spring.rejected.csv")
    assert rejects_path("s3://bucket", table) == Path("bucket.rejected.csv")
    assert rejects_path("https://x.org/", table) == Path("manifest.rejected.csv")
    assert rejects_path("a/jobs.csv", table) == Path("a/jobs.rejected.csv")
    lines = replace(table, rejects=JsonlRejects)
    assert rejects_path("https://x.org/a/list.jsonl?x=1", lines) == Path("list.rejected.jsonl")
