"""Downloading a clip: both ways, incomplete and wrong content, and where the token is sent."""

import io
from collections.abc import Callable
from contextlib import suppress

import httpx
import pytest

from tests.unit.worker.loopback_server import Handler, Reply, Server, json_reply, serving
from tests.unit.worker.nemo.conftest import TOKEN, make_client
from worker.nemo.client import NemoClient
from worker.nemo.errors import (
    BadAnswer,
    NemoError,
    NoAnswer,
    OtherRefusal,
    ServerFailed,
    TokenRefused,
)
from worker.nemo.http.download import DOWNLOAD_SECONDS, OWN_ADDRESS_SECONDS

CLIP = b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 1000
MP4 = {"Content-Type": "video/mp4"}
GOOD = Reply(CLIP, headers=MP4)
OUTPUT_PATH = "/out/clip.mp4"
PROXY_PATH = "/api/render/proxy/r1/download"
OUTPUT, PROXY = f"GET {OUTPUT_PATH}", f"GET {PROXY_PATH}"


def cut(handler: Handler) -> None:
    handler.head(200, {**MP4, "Content-Length": str(len(CLIP) + 1)})
    handler.wfile.write(CLIP)
    handler.disconnect()


def cut_chunked(handler: Handler) -> None:
    handler.head(200, {**MP4, "Transfer-Encoding": "chunked"})
    handler.piece(CLIP)
    handler.disconnect()


def chunked(handler: Handler) -> None:
    handler.head(200, {**MP4, "Transfer-Encoding": "chunked"})
    handler.piece(CLIP[:7])
    handler.piece(CLIP[7:])
    handler.piece(b"")


FAILURES: list[tuple[Callable[[Handler], None], type[NemoError]]] = [
    (cut, NoAnswer),
    (cut_chunked, NoAnswer),
    (Reply(b"<html>sign in</html>", headers={"Content-Type": "text/html"}), BadAnswer),
    (Reply(b"\xef\xbb\xbf\n <!doctype html>", headers=MP4), BadAnswer),
    (Reply(b'{"code": 0}'), BadAnswer),
    (Reply(b'{"code": 0}', headers=MP4), BadAnswer),
    (Reply(b"", headers=MP4), BadAnswer),
    (Reply(b"", 204, MP4), BadAnswer),
    (Reply(CLIP + CLIP, headers=MP4), BadAnswer),
    (Reply(b"", 403), OtherRefusal),
    (Reply(b"", 404), OtherRefusal),
    (Reply(b"", 503), ServerFailed),
    (json_reply({"code": 1001, "message": "expired"}), TokenRefused),
    (Reply(b"", 302, {"Location": "/out/clip.mp4"}), NemoError),
    (Reply(b"", 302, {"Location": "ftp://a.example/x"}), BadAnswer),
    (Reply(b"", 302, {"Location": f"http://{'a' * 70}.example/"}), BadAnswer),
]


def download(client: NemoClient, url: str | None, sink: io.BytesIO) -> None:
    client.download(url, "r1", sink, len(CLIP) + 1000)


def downloads(client: NemoClient, url: str | None) -> bool:
    """Whether a download gives the whole clip."""
    sink = io.BytesIO()
    download(client, url, sink)
    return sink.getvalue() == CLIP


def paths(server: Server) -> list[str]:
    """The requested paths, in order."""
    return [request.path for request in server.requests]


@pytest.mark.parametrize("answer", [GOOD, chunked])
def test_clip_from_its_address_without_the_token(
    answer: Callable[[Handler], None], client: NemoClient, server: Server
) -> None:
    server.on(OUTPUT, answer)
    sink = io.BytesIO(b"left by an earlier try" * len(CLIP))
    download(client, f"{server.url}/out/clip.mp4", sink)
    assert sink.getvalue() == CLIP
    (request,) = server.requests
    assert request.headers["Authorization"] is None
    assert TOKEN not in str(request.headers)
    assert request.headers["X-Skill-Source"] == "ai-image-to-video-extender"


@pytest.mark.parametrize(("answer", "kind"), FAILURES)
def test_fallback_through_the_api_with_the_token(
    answer: Callable[[Handler], None],
    kind: type[NemoError],
    client: NemoClient,
    server: Server,
) -> None:
    """Whatever is wrong at the address, none of its body is left in the file."""
    del kind
    server.on(OUTPUT, answer)
    server.on(PROXY, GOOD)
    sink = io.BytesIO()
    download(client, f"{server.url}/out/clip.mp4", sink)
    assert sink.getvalue() == CLIP
    assert server.requests[-1].path == PROXY_PATH
    assert server.requests[-1].headers["Authorization"] == f"Bearer {TOKEN}"
    assert all(request.headers["Authorization"] is None for request in server.requests[:-1])


@pytest.mark.parametrize(("answer", "kind"), FAILURES)
def test_error_of_the_fallback_is_raised(
    answer: Callable[[Handler], None],
    kind: type[NemoError],
    client: NemoClient,
    server: Server,
) -> None:
    server.on(PROXY, answer)
    with pytest.raises(kind) as caught:
        download(client, None, io.BytesIO())
    assert not caught.value.maybe_charged


@pytest.mark.parametrize("url", ["ftp://x/y", "http://", "http://a..b/", "http://x:99999/", "\0"])
def test_unusable_address_falls_back_to_the_api(
    url: str, client: NemoClient, server: Server
) -> None:
    server.on(PROXY, GOOD)
    assert downloads(client, url)
    assert paths(server)[-1] == PROXY_PATH


def test_relative_address_is_resolved_against_the_api(client: NemoClient, server: Server) -> None:
    server.on(OUTPUT, GOOD)
    assert downloads(client, "/out/clip.mp4")
    assert paths(server) == [OUTPUT_PATH]


@pytest.mark.parametrize(
    ("first", "second", "raised"),
    [
        (503, 404, ServerFailed),
        (404, 503, ServerFailed),
        (404, 403, OtherRefusal),
        (503, 401, TokenRefused),
        (401, 403, OtherRefusal),
    ],
)
def test_of_two_errors_the_one_to_act_on_is_raised(
    first: int, second: int, raised: type[NemoError], client: NemoClient, server: Server
) -> None:
    """A repeatable error before a final one; a refused token only where a token was sent."""
    server.on(OUTPUT, Reply(b"", first))
    server.on(PROXY, Reply(b"", second))
    with pytest.raises(raised) as caught:
        download(client, f"{server.url}/out/clip.mp4", io.BytesIO())
    assert type(caught.value) is raised


@pytest.mark.parametrize(("hops", "last"), [(3, "/hop/3"), (4, PROXY_PATH)])
def test_redirects_are_followed_three_times_without_the_token(
    hops: int, last: str, client: NemoClient, server: Server
) -> None:
    for hop in range(hops):
        server.on(f"GET /hop/{hop}", Reply(b"", 302, {"Location": f"/hop/{hop + 1}"}))
    server.on(f"GET /hop/{hops}", GOOD)
    server.on(PROXY, GOOD)
    assert downloads(client, f"{server.url}/hop/0")
    assert paths(server)[-1] == last
    hopped = [request for request in server.requests if request.path.startswith("/hop/")]
    assert len(hopped) == 4
    assert all(request.headers["Authorization"] is None for request in hopped)


def test_redirect_of_the_api_does_not_forward_the_token(client: NemoClient, server: Server) -> None:
    with serving() as elsewhere:
        elsewhere.on(OUTPUT, Reply(CLIP, headers={**MP4, "Connection": "close"}))
        server.on(PROXY, Reply(b"", 307, {"Location": f"{elsewhere.url}/out/clip.mp4"}))
        assert downloads(client, None)
        assert server.requests[0].headers["Authorization"] == f"Bearer {TOKEN}"
        assert elsewhere.requests[0].headers["Authorization"] is None
        assert elsewhere.requests[0].headers["X-Skill-Source"]


def test_clip_larger_than_allowed_is_not_read(client: NemoClient, server: Server) -> None:
    """Neither an announced size nor a chunked body fills the disk."""
    server.on(PROXY, GOOD)
    sink = io.BytesIO()
    with pytest.raises(BadAnswer, match="over 1000"):
        client.download(None, "r1", sink, 1000)
    server.on(PROXY, chunked)
    with pytest.raises(BadAnswer, match="more than 1000"):
        client.download(None, "r1", sink, 1000)
    assert len(sink.getvalue()) <= 1000


def test_full_disk_is_not_an_error_of_the_api(client: NemoClient, server: Server) -> None:
    """A write error is raised as it is, and the other way is not tried."""

    class Full(io.BytesIO):
        def write(self, *_: object) -> int:
            raise OSError(28, "No space left on device")

    server.on(OUTPUT, GOOD)
    with pytest.raises(OSError, match="No space left"):
        download(client, f"{server.url}/out/clip.mp4", Full())
    assert len(server.requests) == 1


@pytest.fixture
def renamed(http: httpx.Client, server: Server) -> Callable[..., NemoClient]:
    """Build clients that know the API by another name than the server's address."""

    def build(*private_hosts: str) -> NemoClient:
        api_url = server.url.replace("127.0.0.1", "localhost")
        return make_client(http, api_url, private_hosts=private_hosts)

    return build


def test_clip_at_a_private_address_is_not_requested(
    renamed: Callable[..., NemoClient], server: Server
) -> None:
    server.on(OUTPUT, GOOD)
    server.on(PROXY, GOOD)
    assert downloads(renamed(), f"{server.url}/out/clip.mp4")
    assert paths(server) == [PROXY_PATH]


def test_redirect_to_a_private_address_is_not_followed(
    renamed: Callable[..., NemoClient], server: Server
) -> None:
    """Neither from the clip's address nor from the API's own."""
    into = Reply(b"", 302, {"Location": f"{server.url}/inside"})
    server.on(OUTPUT, into)
    server.on(PROXY, into)
    url = server.url.replace("127.0.0.1", "localhost")
    with pytest.raises(BadAnswer, match=r"not a public address; .*REELQUEUE_PRIVATE_HOSTS"):
        download(renamed(), f"{url}/out/clip.mp4", io.BytesIO())
    assert "/inside" not in paths(server)


@pytest.mark.parametrize("with_port", [False, True])
def test_configured_private_host_is_allowed(
    with_port: bool, renamed: Callable[..., NemoClient], server: Server
) -> None:
    server.on(OUTPUT, GOOD)
    allowed = server.url.removeprefix("http://") if with_port else "127.0.0.1"
    assert downloads(renamed(allowed), f"{server.url}/out/clip.mp4")
    assert paths(server) == [OUTPUT_PATH]
    assert server.requests[0].headers["Authorization"] is None


@pytest.mark.parametrize(("answer", "kind"), [(cut, NoAnswer), (cut_chunked, NoAnswer)])
def test_incomplete_clip_of_another_host_is_no_answer(
    answer: Callable[[Handler], None],
    kind: type[NemoError],
    renamed: Callable[..., NemoClient],
    server: Server,
) -> None:
    server.on(OUTPUT, answer)
    server.on(PROXY, Reply(b"", 404))
    with pytest.raises(kind):
        download(renamed("127.0.0.1"), f"{server.url}/out/clip.mp4", io.BytesIO())


def test_other_ports_of_the_apis_own_host_are_allowed(client: NemoClient, server: Server) -> None:
    with serving() as elsewhere:
        elsewhere.on(OUTPUT, GOOD)
        assert downloads(client, f"{elsewhere.url}/out/clip.mp4")
    assert server.requests == []


def test_clip_through_the_proxy_of_the_environment(
    renamed: Callable[..., NemoClient], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy resolves names; private IP addresses are refused before it gets a request."""
    with serving() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        proxy.on("GET http://clips.example/a.mp4", GOOD)
        server.on(PROXY, Reply(b"", 404))
        assert downloads(renamed(), "http://clips.example/a.mp4")
        with pytest.raises(NemoError):
            download(renamed(), "http://10.0.0.1/a.mp4", io.BytesIO())
        assert paths(proxy) == ["http://clips.example/a.mp4"]


def test_endless_slow_clip_is_given_up(http: httpx.Client, server: Server) -> None:
    now = iter(range(0, 10_000, 200))
    client = make_client(http, server.url, clock=lambda: next(now))

    def drip(handler: Handler) -> None:
        handler.head(200, {**MP4, "Transfer-Encoding": "chunked"})
        with suppress(OSError):
            while True:
                handler.piece(CLIP[:1000])

    server.on(PROXY, drip)
    with pytest.raises(NoAnswer, match="not complete in time"):
        client.download(None, "r1", io.BytesIO(), 10**9)


@pytest.mark.parametrize("is_whole", [True, False])
def test_both_ways_share_the_time_of_one_step(
    http: httpx.Client, server: Server, *, is_whole: bool
) -> None:
    seconds = [0.0]

    def clock() -> float:
        seconds[0] += 10
        return seconds[0]

    def drip(handler: Handler) -> None:
        handler.head(200, {**MP4, "Transfer-Encoding": "chunked"})
        with suppress(OSError):
            while True:
                handler.piece(CLIP[:1000])

    server.on(OUTPUT, drip)
    server.on(PROXY, GOOD if is_whole else drip)
    client, sink = make_client(http, server.url, clock=clock), io.BytesIO()
    if is_whole:
        client.download(f"{server.url}{OUTPUT_PATH}", "r1", sink, 10**9)
        assert sink.getvalue() == CLIP, "there was time left for the other way"
    else:
        with pytest.raises(NoAnswer, match="not complete in time"):
            client.download(f"{server.url}{OUTPUT_PATH}", "r1", sink, 10**9)
    assert OWN_ADDRESS_SECONDS <= seconds[0] <= DOWNLOAD_SECONDS + 50
    assert paths(server) == [OUTPUT_PATH, PROXY_PATH]
