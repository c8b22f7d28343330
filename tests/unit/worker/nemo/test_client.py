"""Every call over a real socket: its request, its response, its errors, and no token in them."""

import io
import json
import os
import socket
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.unit.worker.loopback_server import (
    Handler,
    Reply,
    Server,
    json_reply,
    recorded_reply,
)
from tests.unit.worker.nemo.conftest import NOW, TOKEN, make_client
from worker.nemo.client import NemoClient
from worker.nemo.draft import Draft
from worker.nemo.errors import (
    BadAnswer,
    Call,
    ClientIdMissing,
    FileTooLarge,
    NemoError,
    NoAnswer,
    OutOfCredits,
    RateLimited,
    ServerFailed,
    SessionNotFound,
    TokenRefused,
    Unreachable,
)
from worker.nemo.http.transport import MAX_RESPONSE_BYTES
from worker.nemo.responses import RenderState, RenderStatus

SID = "ses_9a77"
RID = "render_1758612345678_9a77"
ROUTES = {
    Call.TOKEN: "POST /api/auth/anonymous-token",
    Call.SESSION: "POST /api/tasks/me/with-session/nemo_agent",
    Call.CLAIM: "POST /api/auth/claim-token",
    Call.UPLOAD: f"POST /api/upload-video/nemo_agent/me/{SID}",
    Call.MESSAGE: "POST /run_sse",
    Call.STATE: f"GET /api/state/nemo_agent/me/{SID}/latest",
    Call.CREDITS: "GET /api/credits/balance/simple",
    Call.EXPORT: "POST /api/render/proxy/lambda",
    Call.POLL: f"GET /api/render/proxy/lambda/{RID}",
    Call.DOWNLOAD: f"GET /api/render/proxy/{RID}/download",
}


def send(client: NemoClient) -> None:
    with client.message(SID, "go", read_timeout=30) as stream:
        list(stream)


CALLS: dict[Call, Callable[[NemoClient], object]] = {
    Call.TOKEN: lambda client: client.anonymous_token("c-1"),
    Call.SESSION: lambda client: client.create_session(),
    Call.CLAIM: lambda client: client.claim_link("tsk", SID),
    Call.UPLOAD: lambda client: client.upload_file(SID, "a.jpg", "image/jpeg", io.BytesIO(b"x")),
    Call.MESSAGE: send,
    Call.STATE: lambda client: client.state(SID),
    Call.CREDITS: lambda client: client.credits(),
    Call.EXPORT: lambda client: client.submit_render(RID, SID, Draft({})),
    Call.POLL: lambda client: client.render_status(RID),
    Call.DOWNLOAD: lambda client: client.download(None, RID, io.BytesIO(), 100),
}
GOOD: dict[Call, Reply] = {
    Call.TOKEN: recorded_reply("token.json"),
    Call.SESSION: recorded_reply("session.json"),
    Call.CLAIM: recorded_reply("claim.json"),
    Call.UPLOAD: recorded_reply("upload.json"),
    Call.MESSAGE: json_reply({"code": 0}),
    Call.STATE: recorded_reply("state_after.json"),
    Call.CREDITS: recorded_reply("credits.json"),
    Call.EXPORT: recorded_reply("render_pending.json"),
    Call.POLL: recorded_reply("render_completed.json"),
    Call.DOWNLOAD: Reply(b"\0\0\0\x18ftyp", headers={"Content-Type": "video/mp4"}),
}


def disconnect(handler: Handler) -> None:
    handler.disconnect()


def cut(handler: Handler) -> None:
    handler.head(200, {"Content-Type": "application/json", "Content-Length": "1000"})
    handler.wfile.write(b'{"code": 0')
    handler.disconnect()


def garbage(handler: Handler) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.6 nmv_usr_not-for-your-eyes\r\n\r\n")
    handler.disconnect()


@pytest.mark.parametrize("call", Call)
def test_attribution_and_token_on_every_call(
    call: Call, client: NemoClient, server: Server
) -> None:
    server.on(ROUTES[call], GOOD[call])
    CALLS[call](client)
    (request,) = server.requests
    assert request.headers["X-Skill-Source"] == "ai-image-to-video-extender"
    assert request.headers["X-Skill-Version"] == "1.0.0"
    assert request.headers["X-Skill-Platform"] == "unknown"
    assert request.headers["Authorization"] == (None if call is Call.TOKEN else f"Bearer {TOKEN}")
    assert TOKEN not in request.path


def test_responses_of_the_short_calls(client: NemoClient, server: Server) -> None:
    for call, reply in GOOD.items():
        server.on(ROUTES[call], reply)
    assert client.anonymous_token("c-1").token.get_secret_value() == "nmv_usr_example"
    assert client.create_session("de").session_id == SID
    assert client.claim_link("tsk", SID) == "https://web.example/workspace/claim?ct=clm_51be"
    assert client.state(SID).draft.is_ready
    assert client.credits().available == 400
    assert client.render_status(RID) == RenderStatus(
        RenderState.COMPLETED, f"https://cdn.example/{RID}.mp4", None
    )
    assert server.requests[0].headers["X-Client-Id"] == "c-1"
    assert server.requests[1].json() == {"task_name": "project", "language": "de"}
    assert server.requests[2].json() == {"task_id": "tsk", "session_id": SID}


@pytest.mark.parametrize("reply", [recorded_reply("render_pending.json"), json_reply({"code": 0})])
def test_export_sends_the_draft_as_it_was_read(
    reply: Reply, client: NemoClient, server: Server
) -> None:
    """Unpaired surrogates and huge numbers are kept; either style of response is accepted."""
    draft = {"t": [{"tt": 0, "sg": [{"d": 1e400, "m": {"name": "\ud83d é"}}], "n": 10**30}]}
    server.on(ROUTES[Call.EXPORT], reply)
    client.submit_render(RID, SID, Draft(draft))
    assert server.requests[0].json() == {
        "id": RID,
        "sessionId": SID,
        "draft": draft,
        "output": {"format": "mp4", "quality": "high"},
    }


@pytest.mark.parametrize("call", [Call.EXPORT, Call.UPLOAD])
def test_response_without_a_success_code_is_a_bad_answer(
    call: Call, client: NemoClient, server: Server
) -> None:
    server.on(ROUTES[call], json_reply({"hello": "world"}))
    with pytest.raises(BadAnswer):
        CALLS[call](client)


def test_upload_by_url(client: NemoClient, server: Server) -> None:
    server.on(ROUTES[Call.UPLOAD], GOOD[Call.UPLOAD])
    client.upload_urls(SID, ["https://a.example/x.jpg"])
    assert server.requests[0].json() == {"urls": ["https://a.example/x.jpg"], "source_type": "url"}


class Zeros(io.RawIOBase):
    """A large file that exists only while it is read, and records the largest read."""

    def __init__(self, size: int) -> None:
        self.size, self.at, self.largest = size, 0, 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.size}[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def read(self, size: int = -1) -> bytes:
        count = self.size - self.at if size < 0 else min(size, self.size - self.at)
        self.largest = max(self.largest, count)
        self.at += count
        return bytes(count)


def test_upload_is_streamed_from_the_beginning_of_the_file(
    client: NemoClient, server: Server
) -> None:
    """Multipart in the field ``files``, streamed, and whole although the file was read before."""
    server.on(ROUTES[Call.UPLOAD], GOOD[Call.UPLOAD])
    file = Zeros(8 * 2**20)
    file.seek(5)
    client.upload_file(SID, 'p"h\n\udcffo.jpg', "image/jpeg", file)  # type: ignore[arg-type]
    (request,) = server.requests
    assert request.headers["Content-Type"].startswith("multipart/form-data; boundary=")
    assert int(request.headers["Content-Length"]) == len(request.body)
    head, _, content = request.body.partition(b"\r\n\r\n")
    assert b'name="files"; filename="p%22h%0A?o.jpg"' in head
    assert b"Content-Type: image/jpeg" in head
    assert content.startswith(bytes(8 * 2**20))
    assert file.largest <= 2**20


@pytest.mark.parametrize("identifier", ["a/b", "../x", "a?b=c", "a#b", "a b", "é", "%2e", "a\nb"])
def test_identifiers_are_quoted_as_one_path_segment(
    identifier: str, client: NemoClient, server: Server
) -> None:
    with pytest.raises(SessionNotFound):
        client.state(identifier)
    path = server.requests[0].path
    assert path.startswith("/api/state/nemo_agent/me/")
    assert path.endswith("/latest")
    assert path.count("/") == 6
    assert not set("?#") & set(path)


@pytest.mark.parametrize("identifier", ["", ".", ".."])
def test_empty_and_relative_identifiers_are_refused(identifier: str, client: NemoClient) -> None:
    with pytest.raises(ValueError, match="identifier"):
        client.render_status(identifier)


@pytest.mark.parametrize("call", Call)
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (json_reply({"code": 1001, "message": f"no {TOKEN}"}), TokenRefused),
        (json_reply({"code": "2001", "message": f"no {TOKEN}"}, 402), OutOfCredits),
        (Reply(f"<p>{TOKEN}".encode(), 503, {"Content-Type": "text/html"}), ServerFailed),
        (Reply(b"<html>", 413, {"Content-Type": "text/html"}), FileTooLarge),
        (Reply(b"", 429, {"Retry-After": "7"}), RateLimited),
        (Reply(f"<p>{TOKEN}".encode(), 200, {"Content-Type": "text/html"}), BadAnswer),
        (Reply(f"{TOKEN}".encode(), 200), BadAnswer),
        (Reply(b"", 302, {"Location": f"/elsewhere?{TOKEN}"}), BadAnswer),
        (Reply(b"\x1f\x8bnot", 200, {"Content-Encoding": "gzip"}), BadAnswer),
        (disconnect, NoAnswer),
        (cut, NoAnswer),
        (garbage, NoAnswer),
    ],
)
def test_each_error_has_its_class_and_never_the_token(
    answer: Any, kind: type[NemoError], call: Call, client: NemoClient, server: Server
) -> None:
    """Each error of each call: its class, whether it may be charged, and no token of the server."""
    if call is Call.DOWNLOAD and answer == Reply(b"", 302, {"Location": f"/elsewhere?{TOKEN}"}):
        kind = NemoError  # A download follows the redirect, whose target does not exist.
    server.on(ROUTES[call], answer)
    with pytest.raises(kind) as caught:
        CALLS[call](client)
    error = caught.value
    charged = call is Call.MESSAGE and kind in {NoAnswer, BadAnswer, ServerFailed}
    assert error.call is call
    assert error.maybe_charged is charged
    assert TOKEN not in f"{error!s} {error!r} {error.args} {vars(error)} {error.__cause__!r}"
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
    assert TOKEN not in f"{client!r} {vars(client)}"


def test_missing_client_id_is_refused(client: NemoClient, server: Server) -> None:
    server.on(ROUTES[Call.TOKEN], json_reply({"detail": "X-Client-Id required"}, 400))
    with pytest.raises(ClientIdMissing, match="X-Client-Id required"):
        client.anonymous_token("")


def test_rate_limit_with_a_date_is_relative_to_the_clock(
    client: NemoClient, server: Server
) -> None:
    date = "Tue, 14 Nov 2023 22:14:05 GMT"
    server.on(ROUTES[Call.CREDITS], Reply(b"", 429, {"Retry-After": date}))
    with pytest.raises(RateLimited) as caught:
        client.credits()
    assert caught.value.retry_after == 1_700_000_045 - NOW


def test_refusal_that_is_cut_off_is_classified_by_its_status(
    client: NemoClient, server: Server
) -> None:
    def cut_page(handler: Handler) -> None:
        handler.head(503, {"Content-Length": "1000"})
        handler.wfile.write(b"<html>")
        handler.disconnect()

    server.on(ROUTES[Call.MESSAGE], cut_page)
    with pytest.raises(ServerFailed):
        send(client)


def test_response_that_is_too_large_is_a_bad_answer(client: NemoClient, server: Server) -> None:
    server.on(ROUTES[Call.CREDITS], Reply(b" " * (MAX_RESPONSE_BYTES + 1)))
    with pytest.raises(BadAnswer, match="too large"):
        client.credits()


@pytest.mark.parametrize("call", Call)
def test_unreachable_is_never_charged_and_repeatable(call: Call, http: httpx.Client) -> None:
    """Without a server on the port, every call reports that nothing was sent."""
    with socket.socket() as bound:
        # Bound but not listening: connections are refused, and no other process gets the port.
        bound.bind(("127.0.0.1", 0))
        client = make_client(http, f"http://127.0.0.1:{bound.getsockname()[1]}/")
        with pytest.raises(Unreachable) as caught:
            CALLS[call](client)
    assert caught.value.repeatable
    assert not caught.value.maybe_charged


@pytest.mark.parametrize("call", [call for call in Call if call is not Call.TOKEN])
def test_client_without_a_token_sends_nothing(
    call: Call, http: httpx.Client, server: Server
) -> None:
    with pytest.raises(TokenRefused):
        CALLS[call](make_client(http, server.url, token=None))
    assert server.requests == []


def test_special_characters_of_a_prompt_reach_the_server(
    client: NemoClient, server: Server
) -> None:
    server.on(ROUTES[Call.MESSAGE], GOOD[Call.MESSAGE])
    text = 'extend "this" 导出 🎬 \ud83d\n'
    with client.message(SID, text, read_timeout=30) as stream:
        list(stream)
    (request,) = server.requests
    assert json.loads(request.body) == {
        "app_name": "nemo_agent",
        "user_id": "me",
        "session_id": SID,
        "new_message": {"parts": [{"text": text}]},
    }
    assert request.headers["Accept"] == "text/event-stream"
