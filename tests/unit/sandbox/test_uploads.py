"""Uploads are recognized by their first bytes and listed with their SHA-256."""

import hashlib
from dataclasses import replace

import pytest

from sandbox.state.uploads import sniff
from tests.unit.sandbox.api import Api, picture
from tests.unit.sandbox.conftest import QUICK, Start

KINDS = [
    (b"\xff\xd8\xff\xe0", "jpg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF89a", "gif"),
    (b"RIFF\0\0\0\0WEBPVP8 ", "webp"),
    (b"RIFF\0\0\0\0WAVEfmt ", "wav"),
    (b"RIFF\0\0\0\0AVI LIST", "avi"),
    (b"\0\0\0\x20ftypisom", "mp4"),
    (b"\0\0\0\x14ftypqt  ", "mov"),
    (b"\0\0\0\x20ftypM4A ", "m4a"),
    (b"\x1a\x45\xdf\xa3\x01B\x82\x84webm", "webm"),
    (b"\x1a\x45\xdf\xa3\x01B\x82\x88matroska", "mkv"),
    (b"ID3\x04", "mp3"),
    (b"\xff\xfb\x90", "mp3"),
    (b"\xff\xf1\x50", "aac"),
    (b"\0\0\0\x18ftypheic", None),
    (b"\0\0\0\x18ftypavif", None),
    (b"%PDF-1.7", None),
    (b"", None),
]


@pytest.mark.parametrize(("head", "kind"), KINDS)
def test_kind_by_first_bytes(head: bytes, kind: str | None) -> None:
    assert sniff(head) == kind


def test_upload_is_listed_with_its_hash(api: Api) -> None:
    session, content = api.session(), picture()
    (file,) = api.upload(session, content, "city timelapse.png").json()["data"]["files"]
    assert (file["name"], file["size"]) == ("city timelapse.png", len(content))
    (entry,) = api.ledger()["uploads"]
    assert entry["sha256"] == hashlib.sha256(content).hexdigest()
    assert (entry["session_id"], entry["kind"]) == (session, "png")
    assert api.state(session)["video_infos"] == [{"name": "city timelapse.png"}]


def test_file_name_does_not_decide_the_kind(api: Api) -> None:
    assert api.upload(api.session(), b"just text", "photo.jpg").json()["code"] == 4001
    assert api.ledger()["uploads"] == []


def test_too_large(start: Start) -> None:
    api = start(replace(QUICK, upload_limit=100_000))
    session = api.session()
    assert api.upload(session, picture() + bytes(200_000)).json()["code"] == 4002
    assert api.upload(session, picture() + bytes(50_000)).json()["code"] == 0


def test_other_field_names_are_refused(api: Api) -> None:
    reply = api.http.post(
        f"/api/upload-video/nemo_agent/me/{api.session()}", files={"file": ("a.png", picture())}
    )
    assert reply.json()["code"] == 422


def test_upload_by_url(api: Api) -> None:
    """The stand-in fetches the URL itself; here it is the URL of one of its own clips."""
    session = api.session_with_picture()
    api.message(session)
    api.export(session, "render_1")
    url = api.wait_for_render("render_1")["output"]["url"]
    other = api.session()
    reply = api.http.post(
        f"/api/upload-video/nemo_agent/me/{other}", json={"urls": [url], "source_type": "url"}
    )
    assert reply.json()["code"] == 0
    assert api.ledger()["uploads"][-1]["kind"] == "mp4"


def test_url_that_cannot_be_fetched(api: Api) -> None:
    reply = api.http.post(
        f"/api/upload-video/nemo_agent/me/{api.session()}",
        json={"urls": [f"{api.url}/nowhere"], "source_type": "url"},
    )
    assert reply.json()["code"] == 422


def test_unknown_session(api: Api) -> None:
    assert api.upload("ses_none", picture()).json()["code"] == 1002
