"""Fetching a clip: the two ways, the cuts, the impostors, and where the token goes."""

import io
from collections.abc import Callable
from contextlib import suppress

import httpx
import pytest
from pydantic import SecretStr

from tests.unit.worker.nemo.conftest import TOKEN
from tests.unit.worker.nemo.loopback_server import Handler, Reply, Server, in_json, serving
from worker.nemo.client import NemoClient
from worker.nemo.errors import (
    BadAnswer,
    NemoError,
    NoAnswer,
    OtherRefusal,
    ServerFailed,
    TokenRefused,
)
from worker.nemo.http.download import Download, Source
from worker.nemo.http.transport import Identity

CLIP = b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 1000
MP4 = {"Content-Type": "video/mp4"}
GOOD = Reply(CLIP, headers=MP4)
OUTPUT = "GET /out/clip.mp4"
PROXY = "GET /api/render/proxy/r1/download"


def cut(handler: Handler) -> None:
    handler.head(200, {**MP4, "Content-Length": str(len(CLIP) + 1)})
    handler.wfile.write(CLIP)
    handler.hang_up()


def cut_chunked(handler: Handler) -> None:
    handler.head(200, {**MP4, "Transfer-Encoding": "chunked"})
    handler.piece(CLIP)
    handler.hang_up()


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
    (in_json({"code": 1001, "message": "expired"}), TokenRefused),
    (Reply(b"", 302, {"Location": "/out/clip.mp4"}), NemoError),
    (Reply(b"", 302, {"Location": "ftp://a.example/x"}), BadAnswer),
    (Reply(b"", 302, {"Location": f"http://{'a' * 70}.example/"}), BadAnswer),
]


def fetch(client: NemoClient, url: str | None, sink: io.BytesIO) -> Download:
    return client.download(url, "r1", sink, len(CLIP) + 1000)


@pytest.mark.parametrize("answer", [GOOD, chunked])
def test_clip_from_its_address_without_the_token(
    answer: Callable[[Handler], None], client: NemoClient, server: Server
) -> None:
    server.on(OUTPUT, answer)
    sink = io.BytesIO(b"left by an earlier try" * len(CLIP))
    done = fetch(client, f"{server.url}/out/clip.mp4", sink)
    assert done == Download(len(CLIP), "video/mp4", Source.OUTPUT)
    assert sink.getvalue() == CLIP
    (asked,) = server.asked
    assert asked.headers["Authorization"] is None
    assert TOKEN not in str(asked.headers)
    assert asked.headers["X-Skill-Source"] == "ai-image-to-video-extender"


@pytest.mark.parametrize(("answer", "kind"), FAILURES)
def test_fallback_through_the_api_with_the_token(
    answer: Callable[[Handler], None],
    kind: type[NemoError],
    client: NemoClient,
    server: Server,
) -> None:
    """Whatever is wrong with the address; nothing of its body is left in the file."""
    del kind
    server.on(OUTPUT, answer)
    server.on(PROXY, GOOD)
    sink = io.BytesIO()
    done = fetch(client, f"{server.url}/out/clip.mp4", sink)
    assert done == Download(len(CLIP), "video/mp4", Source.PROXY)
    assert sink.getvalue() == CLIP
    assert server.asked[-1].headers["Authorization"] == f"Bearer {TOKEN}"
    assert all(asked.headers["Authorization"] is None for asked in server.asked[:-1])


@pytest.mark.parametrize(("answer", "kind"), FAILURES)
def test_failure_of_the_fallback_is_told(
    answer: Callable[[Handler], None],
    kind: type[NemoError],
    client: NemoClient,
    server: Server,
) -> None:
    server.on(PROXY, answer)
    with pytest.raises(kind) as caught:
        fetch(client, None, io.BytesIO())
    assert not caught.value.maybe_charged


@pytest.mark.parametrize("url", ["ftp://x/y", "http://", "http://a..b/", "http://x:99999/", "\0"])
def test_address_that_cannot_be_used_falls_back(
    url: str, client: NemoClient, server: Server
) -> None:
    server.on(PROXY, GOOD)
    assert fetch(client, url, io.BytesIO()).source is Source.PROXY


def test_address_relative_to_the_api(client: NemoClient, server: Server) -> None:
    server.on(OUTPUT, GOOD)
    assert fetch(client, "/out/clip.mp4", io.BytesIO()).source is Source.OUTPUT


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (503, 404, ServerFailed),
        (404, 503, ServerFailed),
        (404, 403, OtherRefusal),
        (503, 401, TokenRefused),
        (401, 403, OtherRefusal),
    ],
)
def test_of_two_failures_the_one_to_act_on_is_told(
    first: int, second: int, told: type[NemoError], client: NemoClient, server: Server
) -> None:
    """What may be repeated before what may not; a refused token only where it was sent."""
    server.on(OUTPUT, Reply(b"", first))
    server.on(PROXY, Reply(b"", second))
    with pytest.raises(told) as caught:
        fetch(client, f"{server.url}/out/clip.mp4", io.BytesIO())
    assert type(caught.value) is told


@pytest.mark.parametrize(("hops", "source"), [(3, Source.OUTPUT), (4, Source.PROXY)])
def test_redirects_are_followed_three_times_without_the_token(
    hops: int, source: Source, client: NemoClient, server: Server
) -> None:
    for hop in range(hops):
        server.on(f"GET /hop/{hop}", Reply(b"", 302, {"Location": f"/hop/{hop + 1}"}))
    server.on(f"GET /hop/{hops}", GOOD)
    server.on(PROXY, GOOD)
    sink = io.BytesIO()
    assert fetch(client, f"{server.url}/hop/0", sink).source is source
    assert sink.getvalue() == CLIP
    hopped = [asked for asked in server.asked if asked.path.startswith("/hop/")]
    assert len(hopped) == 4
    assert all(asked.headers["Authorization"] is None for asked in hopped)


def test_redirect_of_the_api_does_not_carry_the_token_away(
    client: NemoClient, server: Server
) -> None:
    with serving() as elsewhere:
        elsewhere.on(OUTPUT, Reply(CLIP, headers={**MP4, "Connection": "close"}))
        server.on(PROXY, Reply(b"", 307, {"Location": f"{elsewhere.url}/out/clip.mp4"}))
        assert fetch(client, None, io.BytesIO()).bytes == len(CLIP)
        assert server.asked[0].headers["Authorization"] == f"Bearer {TOKEN}"
        assert elsewhere.asked[0].headers["Authorization"] is None
        assert elsewhere.asked[0].headers["X-Skill-Source"]


def test_clip_larger_than_allowed_is_not_read(client: NemoClient, server: Server) -> None:
    """Neither announced nor arriving in pieces does it fill the disk."""
    server.on(PROXY, GOOD)
    sink = io.BytesIO()
    with pytest.raises(BadAnswer, match="over 1000"):
        client.download(None, "r1", sink, 1000)
    server.on(PROXY, chunked)
    with pytest.raises(BadAnswer, match="more than 1000"):
        client.download(None, "r1", sink, 1000)
    assert len(sink.getvalue()) <= 1000


def test_full_disk_is_the_callers_own_error(client: NemoClient, server: Server) -> None:
    """A failure to write is not blamed on the API, and not tried the other way."""

    class Full(io.BytesIO):
        def write(self, *_: object) -> int:
            raise OSError(28, "No space left on device")

    server.on(OUTPUT, GOOD)
    with pytest.raises(OSError, match="No space left"):
        fetch(client, f"{server.url}/out/clip.mp4", Full())
    assert len(server.asked) == 1


# --- where a clip may lie


@pytest.fixture
def far(http: httpx.Client, server: Server) -> Callable[..., NemoClient]:
    """Clients of an API by another name, so that the server's own address is a foreign one."""

    def build(*private_hosts: str) -> NemoClient:
        return NemoClient(
            http,
            api_url=server.url.replace("127.0.0.1", "localhost"),
            web_url="https://web.example",
            identity=Identity(platform="unknown", version="1.0.0"),
            token=SecretStr(TOKEN),
            private_hosts=private_hosts,
        )

    return build


def test_clip_inside_the_house_is_not_asked_for(
    far: Callable[..., NemoClient], server: Server
) -> None:
    server.on(OUTPUT, GOOD)
    server.on(PROXY, GOOD)
    done = fetch(far(), f"{server.url}/out/clip.mp4", io.BytesIO())
    assert done.source is Source.PROXY
    assert [asked.path for asked in server.asked] == ["/api/render/proxy/r1/download"]


def test_redirect_into_the_house_is_not_followed(
    far: Callable[..., NemoClient], server: Server
) -> None:
    """Neither from the clip's address nor from the API's own."""
    into = Reply(b"", 302, {"Location": f"{server.url}/inside"})
    server.on(OUTPUT, into)
    server.on(PROXY, into)
    url = server.url.replace("127.0.0.1", "localhost")
    with pytest.raises(BadAnswer, match="not a public address; REELQUEUE_PRIVATE_HOSTS"):
        fetch(far(), f"{url}/out/clip.mp4", io.BytesIO())
    assert "/inside" not in [asked.path for asked in server.asked]


@pytest.mark.parametrize("with_port", [False, True])
def test_private_host_that_is_configured_gives_clips(
    with_port: bool, far: Callable[..., NemoClient], server: Server
) -> None:
    server.on(OUTPUT, GOOD)
    allowed = server.url.removeprefix("http://") if with_port else "127.0.0.1"
    sink = io.BytesIO()
    assert fetch(far(allowed), f"{server.url}/out/clip.mp4", sink).source is Source.OUTPUT
    assert sink.getvalue() == CLIP
    assert server.asked[0].headers["Authorization"] is None


@pytest.mark.parametrize(("answer", "kind"), [(cut, NoAnswer), (cut_chunked, NoAnswer)])
def test_clip_from_elsewhere_that_is_cut_is_told_as_such(
    answer: Callable[[Handler], None],
    kind: type[NemoError],
    far: Callable[..., NemoClient],
    server: Server,
) -> None:
    server.on(OUTPUT, answer)
    server.on(PROXY, Reply(b"", 404))
    with pytest.raises(kind):
        fetch(far("127.0.0.1"), f"{server.url}/out/clip.mp4", io.BytesIO())


def test_other_ports_of_the_apis_own_host_are_allowed(client: NemoClient, server: Server) -> None:
    with serving() as elsewhere:
        elsewhere.on(OUTPUT, GOOD)
        done = fetch(client, f"{elsewhere.url}/out/clip.mp4", io.BytesIO())
    assert done.source is Source.OUTPUT
    assert server.asked == []


def test_clip_through_the_proxy_that_the_environment_demands(
    far: Callable[..., NemoClient], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy finds names; written addresses that are private are refused before it is asked."""
    with serving() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        proxy.on("GET http://clips.example/a.mp4", GOOD)
        server.on(PROXY, Reply(b"", 404))
        assert fetch(far(), "http://clips.example/a.mp4", io.BytesIO()).source is Source.OUTPUT
        with pytest.raises(NemoError):
            fetch(far(), "http://10.0.0.1/a.mp4", io.BytesIO())
        assert [asked.path for asked in proxy.asked] == ["http://clips.example/a.mp4"]


def test_clip_that_drips_for_ever_is_given_up(http: httpx.Client, server: Server) -> None:
    now = iter(range(0, 10_000, 200))
    dripping = NemoClient(
        http,
        api_url=server.url,
        web_url="https://web.example",
        identity=Identity(platform="unknown", version="1.0.0"),
        token=SecretStr(TOKEN),
        clock=lambda: next(now),
    )

    def drip(handler: Handler) -> None:
        handler.head(200, {**MP4, "Transfer-Encoding": "chunked"})
        with suppress(OSError):
            while True:
                handler.piece(CLIP[:1000])

    server.on(PROXY, drip)
    with pytest.raises(NoAnswer, match="not whole after"):
        dripping.download(None, "r1", io.BytesIO(), 10**9)
