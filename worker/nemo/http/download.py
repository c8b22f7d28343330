"""Downloads a finished clip into a file."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import BinaryIO

import httpx

from worker.egress.pinned_transport import ForbiddenHostError
from worker.faultpoints import faultpoint
from worker.nemo.envelope import read_envelope
from worker.nemo.errors import BadAnswer, Call, NemoError, NoAnswer, TokenRefused
from worker.nemo.http.download_clients import DownloadClients
from worker.nemo.http.requests import ApiRequests, path_segment
from worker.nemo.http.transport import http_errors, read_response

MAX_REDIRECTS = 3
DOWNLOAD_SECONDS = 540.0
"""How long both ways together may take: a step's limit is 600 s."""
OWN_ADDRESS_SECONDS = 360.0
"""How long the clip's own address may take, so that there is time for the way through the API."""

_MAX_LABEL, _MAX_PORT = 64, 65_536
_BOM = b"\xef\xbb\xbf"
_TEXT_TYPES = ("text/", "application/json", "application/xml", "application/xhtml")


class ClipDownload:
    """The download of one clip: from its own address without the token, else through the API.

    Args:
        api: The requests of the client.
        private_hosts: Hosts beside the API's own that may be private.
        sink: A seekable file; emptied before each attempt.
        max_bytes: The largest clip that is accepted.
    """

    def __init__(
        self, api: ApiRequests, private_hosts: Sequence[str], sink: BinaryIO, max_bytes: int
    ) -> None:
        self._api = api
        self._private_hosts = private_hosts
        self._sink = sink
        self._max_bytes = max_bytes

    def run(self, url: str | None, render_id: str) -> None:
        """Download the clip of a render, from its own address if it has one.

        Raises:
            NemoError: Both ways failed; of the two errors, the one to act on.
        """
        first: NemoError | None = None
        now = self._api.clock()
        if url:
            try:
                own = _clip_url(url, self._api.base_url)
                self._fetch(own, self._api.attribution, now + OWN_ADDRESS_SECONDS)
            except NemoError as exc:
                first = exc
            else:
                return
        proxied = self._api.url(f"api/render/proxy/{path_segment(render_id)}/download")
        try:
            headers = self._api.headers(Call.DOWNLOAD)
            self._fetch(httpx.URL(proxied), headers, now + DOWNLOAD_SECONDS)
        except NemoError as exc:
            # A token can be renewed, and a repeatable error matters more than a final one.
            if first is None or exc.repeatable or isinstance(exc, TokenRefused):
                raise
            raise (first if first.repeatable else exc) from None

    def _fetch(self, url: httpx.URL, headers: Mapping[str, str], deadline: float) -> None:
        """Write what an address holds to the sink, before the deadline on the API's clock.

        Raises:
            Unreachable: No connection was made.
            NoAnswer: The body is incomplete, takes too long, or the connection broke.
            BadAnswer: It is not a clip: empty, HTML, JSON, too large, redirected too often, or at
                an address that is not public.
            Refusal: The server refused the request.
        """
        clients = DownloadClients(
            self._api.http,
            api_url=self._api.base_url,
            private_hosts=self._private_hosts,
            seconds=max(0.0, deadline - self._api.clock()),
        )
        for _ in range(MAX_REDIRECTS + 1):
            with (
                faultpoint("api.download"),
                _forbidden_host_errors(),
                clients.client_for(url) as http,
                http_errors(Call.DOWNLOAD),
            ):
                response = http.send(http.build_request("GET", url, headers=headers), stream=True)
                try:
                    if not response.has_redirect_location:
                        self._check_head(response)
                        self._save(response, deadline)
                        return
                    url = _clip_url(response.headers["location"], str(url))
                    # Wherever a redirect leads, the token stays behind.
                    headers = self._api.attribution
                finally:
                    response.close()
        raise BadAnswer(Call.DOWNLOAD, f"more than {MAX_REDIRECTS} redirects")

    def _check_head(self, response: httpx.Response) -> None:
        status = response.status_code
        content_type = response.headers.get("content-type", "").strip().lower()
        if status != httpx.codes.OK or content_type.startswith(_TEXT_TYPES):
            answer = read_response(Call.DOWNLOAD, response)
            read_envelope(Call.DOWNLOAD, answer, clock=self._api.clock)
            raise BadAnswer(
                Call.DOWNLOAD, f"not a clip but {content_type or 'nothing'}", status=status
            )
        announced = response.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._max_bytes:
            raise BadAnswer(
                Call.DOWNLOAD, f"the clip has {announced} bytes, over {self._max_bytes}"
            )

    def _save(self, response: httpx.Response, deadline: float) -> None:
        """Copy the body. The HTTP library checks it against the announced length."""
        self._sink.seek(0)
        self._sink.truncate()
        size = 0
        for chunk in response.iter_bytes():
            if size == 0 and _looks_like_text(chunk):
                raise BadAnswer(Call.DOWNLOAD, "HTML or JSON instead of a clip")
            size += len(chunk)
            if size > self._max_bytes:
                raise BadAnswer(Call.DOWNLOAD, f"the clip has more than {self._max_bytes} bytes")
            if self._api.clock() > deadline:
                raise NoAnswer(Call.DOWNLOAD, "not complete in time")
            self._sink.write(chunk)
        if size == 0:
            raise BadAnswer(Call.DOWNLOAD, "the clip is empty")


def _clip_url(url: str, base: str) -> httpx.URL:
    """Parse the address of a clip, which may be relative.

    Raises:
        BadAnswer: It is not an http or https URL.
    """
    try:
        found = httpx.URL(base).join(url)
    except httpx.InvalidURL:
        raise BadAnswer(Call.DOWNLOAD, "the clip's address cannot be read") from None
    if found.scheme not in ("http", "https") or not _connectable(found):
        raise BadAnswer(Call.DOWNLOAD, "the clip's address is not an http or https URL")
    return found


@contextmanager
def _forbidden_host_errors() -> Iterator[None]:
    try:
        yield
    except ForbiddenHostError as error:
        raise BadAnswer(
            Call.DOWNLOAD, f"{error}; add the host to REELQUEUE_PRIVATE_HOSTS to allow it"
        ) from None


def _connectable(url: httpx.URL) -> bool:
    """Return whether the resolver accepts the host; others raise errors outside the network's."""
    labels = url.raw_host.rstrip(b".").split(b".")
    return all(0 < len(label) < _MAX_LABEL for label in labels) and (url.port or 0) < _MAX_PORT


def _looks_like_text(chunk: bytes) -> bool:
    """A clip starts with the length of its first box, whose first byte is never a bracket."""
    return chunk.removeprefix(_BOM).lstrip()[:1] in (b"<", b"{", b"[")
