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
"""Time limit for both downloads together, below a step's limit of 600 s."""
OWN_ADDRESS_SECONDS = 360.0
"""Time limit for a download from the clip's own address, so that one through the API has time."""

_MAX_LABEL, _MAX_PORT = 64, 65_536
_BOM = b"\xef\xbb\xbf"
_TEXT_TYPES = ("text/", "application/json", "application/xml", "application/xhtml")


class ClipDownload:
    """The download of one clip: from its own address without the token, else through the API.

    Args:
        api: The requests of the client.
        private_hosts: Hosts of clips that may be private, besides the API's own.
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
            NemoError: Both downloads failed. It is the error of the two that is to be acted on.
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
        """Download a URL into the sink, before a deadline by the clock of the API's requests.

        Raises:
            Unreachable: No connection was made.
            NoAnswer: The body is incomplete, takes too long, or the connection broke.
            BadAnswer: The response is not a clip: it is empty, HTML or JSON, too large, or
                redirected too often. Or the URL is at an address that is not public.
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
                    # The token is never sent to the target of a redirect.
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
        """Write the body to the sink. The HTTP library checks it against the announced length."""
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
    """Return whether a host can be resolved at all: others raise errors that are not httpx's."""
    labels = url.raw_host.rstrip(b".").split(b".")
    return all(0 < len(label) < _MAX_LABEL for label in labels) and (url.port or 0) < _MAX_PORT


def _looks_like_text(chunk: bytes) -> bool:
    """Return whether a file begins like HTML or JSON.

    An MP4 file begins with the length of its first box, whose first byte is never a bracket.
    """
    return chunk.removeprefix(_BOM).lstrip()[:1] in (b"<", b"{", b"[")
