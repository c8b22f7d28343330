"""Exports and downloads."""

import io
from dataclasses import replace

import av
import httpx
import pytest

from tests.unit.sandbox.api import Api, fetch, picture
from tests.unit.sandbox.conftest import QUICK, Start


def generated(api: Api) -> str:
    """Generate a clip and return its session."""
    session = api.session_with_picture()
    assert api.message(session).status_code == 200
    return session


def exported(api: Api) -> str:
    """Export a clip and return the link to it."""
    api.export(generated(api), "render_1")
    return str(api.wait_for_render("render_1")["output"]["url"])


def test_export_makes_a_clip_that_is_downloaded_without_a_token(api: Api) -> None:
    content = fetch(exported(api)).content
    with av.open(io.BytesIO(content)) as clip:
        stream = clip.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 192, 108)
    (entry,) = api.ledger()["renders"]
    assert (entry["status"], entry["downloads"]) == ("completed", 1)
    assert entry["submitted_at"] < entry["completed_at"]
    assert entry["polls"] == sorted(entry["polls"])


def test_export_is_free(api: Api) -> None:
    exported(api)
    assert api.credits()["total"] == 900


def test_proxy_needs_the_token(api: Api) -> None:
    content = fetch(exported(api)).content
    path = "/api/render/proxy/render_1/download"
    assert api.http.get(path).content == content
    assert fetch(f"{api.url}{path}").json()["code"] == 1001
    assert api.ledger()["renders"][0]["downloads"] == 2


def test_token_on_a_link_is_refused_and_counted(api: Api) -> None:
    assert api.http.get(exported(api)).status_code == 400
    assert api.ledger()["tokens_on_links"] == 1


def test_expired_link(start: Start) -> None:
    api = start(replace(QUICK, link_seconds=0.05))
    link = exported(api)
    api.wait_until(lambda: fetch(link).status_code, lambda status: status == 403)
    fresh = api.poll("render_1").json()["output"]["url"]
    assert fresh != link


def test_repeated_export_returns_the_same_render(api: Api) -> None:
    session = generated(api)
    draft = api.state(session)["draft"]
    api.export(session, "render_1", draft)
    assert api.export(session, "render_1", draft).json()["id"] == "render_1"
    assert len(api.ledger()["renders"]) == 1


def test_id_of_another_export_is_refused(api: Api) -> None:
    session = generated(api)
    api.export(session, "render_1")
    api.message(session, "make it 2 seconds")
    assert api.export(session, "render_1").json()["code"] == 409


def test_earlier_draft_gives_the_earlier_clip(api: Api) -> None:
    session = generated(api)
    draft = api.state(session)["draft"]
    api.message(session, "make it 2 seconds")
    api.export(session, "render_1", draft)
    assert api.wait_for_render("render_1")["output"]["duration"] == 1.0


def test_empty_draft_is_refused(api: Api) -> None:
    assert api.export(api.session_with_picture(), "render_1").json()["code"] == 422


def test_last_picture_is_used(api: Api) -> None:
    session = api.session_with_picture()
    api.upload(session, picture(90, 160, mark=9))
    api.message(session, "1 second")
    api.export(session, "render_1")
    with av.open(
        io.BytesIO(fetch(api.wait_for_render("render_1")["output"]["url"]).content)
    ) as clip:
        assert (clip.streams.video[0].width, clip.streams.video[0].height) == (108, 192)


def test_render_of_an_undecodable_picture_fails(api: Api) -> None:
    session = api.session()
    api.upload(session, b"\x89PNG\r\n\x1a\n" + bytes(200))
    api.message(session)
    api.export(session, "render_1")
    assert api.wait_for_render("render_1")["status"] == "failed"


def test_ratio_of_failing_renders(start: Start) -> None:
    api = start(replace(QUICK, fail_render_ratio=1.0))
    api.export(generated(api), "render_1")
    assert api.wait_for_render("render_1") == {"id": "render_1", "status": "failed"}


@pytest.mark.parametrize("call", ["export", "poll"])
def test_render_that_fails_on_request(api: Api, call: str) -> None:
    session = generated(api)
    api.faults({"call": call, "action": "fail"})
    api.export(session, "render_1")
    assert api.wait_for_render("render_1")["status"] == "failed"
    api.export(session, "render_2")
    assert api.wait_for_render("render_2")["status"] == "completed"


@pytest.mark.parametrize("call", ["export", "poll"])
def test_render_that_never_completes(api: Api, call: str) -> None:
    session = generated(api)
    api.faults({"call": call, "action": "stuck"})
    api.export(session, "render_1")
    api.poll("render_1")
    api.export(session, "render_2")
    assert api.wait_for_render("render_2")["status"] == "completed"
    assert api.poll("render_1").json()["status"] == "processing"


def test_unknown_render(api: Api) -> None:
    assert api.poll("render_none").status_code == 404


def test_download_of_a_page_instead_of_a_clip(api: Api) -> None:
    link = exported(api)
    api.faults({"call": "download", "action": "html"})
    reply = fetch(link)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert fetch(link).headers["content-type"] == "video/mp4"


def test_download_of_half_a_file(api: Api) -> None:
    link = exported(api)
    whole = fetch(link).content
    api.faults({"call": "download", "action": "cut"})
    with pytest.raises(httpx.RemoteProtocolError):
        fetch(link)
    api.faults({"call": "download", "action": "cut", "clean": True})
    assert fetch(link).content == whole[: len(whole) // 2]
    assert api.ledger()["renders"][0]["downloads"] == 1


def test_missing_file_at_the_link_only(api: Api) -> None:
    link = exported(api)
    api.faults({"call": "download", "action": "gone", "via": "link", "times": 2})
    assert [fetch(link).status_code for _ in range(3)] == [404, 404, 200]
    assert api.http.get("/api/render/proxy/render_1/download").status_code == 200
