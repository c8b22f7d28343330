"""The typed client of the video API: one method a call of the contract."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, BinaryIO
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from worker.nemo.draft import Draft
from worker.nemo.envelope import DONE, envelope_code, read_envelope
from worker.nemo.errors import BadAnswer, Call, NemoError, TokenRefused
from worker.nemo.http.download import DOWNLOAD_SECONDS, Download, Source, clip_url, fetch
from worker.nemo.http.download_clients import DownloadClients
from worker.nemo.http.transport import Identity, bearer, exchange, open_http
from worker.nemo.responses import (
    Balance,
    RenderState,
    RenderStatus,
    Session,
    State,
    TokenGrant,
    read_balance,
    read_claim,
    read_render,
    read_session,
    read_state,
    read_token,
)
from worker.nemo.streaming.message_stream import MessageStream

__all__ = [
    "Balance",
    "Download",
    "MessageStream",
    "NemoClient",
    "RenderState",
    "RenderStatus",
    "Session",
    "State",
    "TokenGrant",
]

_AGENT = "nemo_agent"
_USER = "me"
_OUTPUT: Mapping[str, str] = {"format": "mp4", "quality": "high"}


class NemoClient:
    """Calls the video API with one token; every method raises ``NemoError`` and no other failure.

    A client holds no state but what it was built with, so a new token is a new client.

    Args:
        http: The HTTP client of the short calls (``transport.open_http``); the caller closes it.
        api_url: Base URL of the API.
        web_url: Base URL of the links for people.
        identity: The attribution headers' values.
        token: The access token; needed by every call but ``anonymous_token``.
        private_hosts: Hosts beside the API's own that may lie in private ranges and hold clips.
        open_stream: Opens the HTTP client of one message.
        clock: Now, in seconds since the epoch; for a ``Retry-After`` given as a date.
    """

    def __init__(
        self,
        http: httpx.Client,
        *,
        api_url: str,
        web_url: str,
        identity: Identity,
        token: SecretStr | None = None,
        private_hosts: Iterable[str] = (),
        open_stream: Callable[[], httpx.Client] = open_http,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._http = http
        self._api_url = api_url.rstrip("/")
        self._web_url = web_url.rstrip("/")
        self._token = token
        self._private_hosts = tuple(private_hosts)
        self._open_stream = open_stream
        self._clock = clock
        # Encoded answers are not asked for: they save nothing at these sizes, hold events back
        # in a stream, and a small one can unfold to gigabytes.
        self._attribution = {**identity.headers(), "Accept-Encoding": "identity"}

    def anonymous_token(self, client_id: str) -> TokenGrant:
        """Get a token for a client id; the same id gives one a week (contract, "Calls").

        Raises:
            ClientIdMissing: The id was not accepted.
            RateLimited: The id or the address has had its tokens.
            NemoError: Any other failure.
        """
        request = self._http.build_request(
            "POST",
            self._url("api/auth/anonymous-token"),
            headers={**self._attribution, "X-Client-Id": client_id},
        )
        return read_token(self._done(Call.TOKEN, request))

    def create_session(self, language: str = "en") -> Session:
        """Open a session.

        Args:
            language: Language of the agent's replies.

        Raises:
            NemoError: Any failure.
        """
        url = self._url(f"api/tasks/{_USER}/with-session/{_AGENT}")
        body = {"task_name": "project", "language": language}
        return read_session(self._post(Call.SESSION, url, body))

    def claim_link(self, task_id: str, session_id: str) -> str:
        """Make the link that opens a session's project in a browser; it lives 7 days.

        Raises:
            NemoError: Any failure.
        """
        body = {"task_id": task_id, "session_id": session_id}
        claim = read_claim(self._post(Call.CLAIM, self._url("api/auth/claim-token"), body))
        return f"{self._web_url}/workspace/claim?ct={quote(claim.get_secret_value(), safe='')}"

    def upload_file(self, session_id: str, name: str, content_type: str, file: BinaryIO) -> None:
        """Upload a file from its beginning; it is read piece by piece.

        Args:
            session_id: The session.
            name: The name the agent will see.
            content_type: Its media type.
            file: A seekable binary file.

        Raises:
            FileTypeRefused: The type is not accepted.
            FileTooLarge: The file is too large.
            NemoError: Any other failure.
        """
        # A name off the disk may hold bytes that are not text.
        sendable = name.encode("utf-8", errors="replace").decode()
        request = self._http.build_request(
            "POST",
            self._upload_url(session_id),
            headers=self._headers(Call.UPLOAD),
            files={"files": (sendable, file, content_type)},
        )
        self._enveloped(Call.UPLOAD, request)

    def upload_urls(self, session_id: str, urls: Sequence[str]) -> None:
        """Have the API fetch files itself.

        Raises:
            NemoError: Any failure, as for ``upload_file``.
        """
        body = {"urls": list(urls), "source_type": "url"}
        request = self._json_request(Call.UPLOAD, self._upload_url(session_id), body)
        self._enveloped(Call.UPLOAD, request)

    def state(self, session_id: str) -> State:
        """Read a session's state.

        Raises:
            SessionNotFound: There is no such session under this token.
            NemoError: Any other failure.
        """
        url = self._url(f"api/state/{_AGENT}/{_USER}/{_segment(session_id)}/latest")
        return read_state(self._get(Call.STATE, url))

    def credits(self) -> Balance:
        """Read the account's balance.

        Raises:
            NemoError: Any failure.
        """
        return read_balance(self._get(Call.CREDITS, self._url("api/credits/balance/simple")))

    def message(self, session_id: str, text: str, *, read_timeout: float) -> MessageStream:
        """Prepare a message; entering the stream sends it, and sending it costs credits.

        Args:
            session_id: The session.
            text: What the agent is asked for.
            read_timeout: The longest silence on the connection, in seconds.

        Raises:
            TokenRefused: There is no token that could be sent.
        """
        body = {
            "app_name": _AGENT,
            "user_id": _USER,
            "session_id": session_id,
            "new_message": {"parts": [{"text": text}]},
        }
        return MessageStream(
            self._open_stream,
            url=self._url("run_sse"),
            headers={
                **self._headers(Call.MESSAGE),
                "Accept": "text/event-stream",
                "Content-Type": "application/json",
            },
            body=_encode(body),
            read_timeout=read_timeout,
            clock=self._clock,
        )

    def submit_render(self, render_id: str, session_id: str, draft: Draft) -> None:
        """Export a draft; free of credits.

        Args:
            render_id: Made by the caller and unique.
            session_id: The session.
            draft: The draft, as it was read.

        Raises:
            PlanRefused: The account's plan has no export.
            NemoError: Any other failure.
        """
        body = {"id": render_id, "sessionId": session_id, "draft": draft.raw, "output": _OUTPUT}
        found = self._post(Call.EXPORT, self._url("api/render/proxy/lambda"), body)
        if envelope_code(found) != DONE:
            read_render(Call.EXPORT, found)

    def render_status(self, render_id: str) -> RenderStatus:
        """Look at a render.

        Raises:
            NemoError: Any failure.
        """
        url = self._url(f"api/render/proxy/lambda/{_segment(render_id)}")
        return read_render(Call.POLL, self._get(Call.POLL, url))

    def download(self, url: str | None, render_id: str, sink: BinaryIO, max_bytes: int) -> Download:
        """Fetch a clip: from its own address without the token, else through the API with it.

        Args:
            url: The address in the render's status, if it named one.
            render_id: The render.
            sink: A seekable file; emptied before each try.
            max_bytes: The largest clip that is taken.

        Raises:
            NemoError: Both ways failed; of the two failures, the one to act on.
        """
        failed: NemoError | None = None
        if url:
            try:
                return self._fetch(Source.OUTPUT, clip_url(url, self._api_url), sink, max_bytes)
            except NemoError as exc:
                failed = exc
        proxied = self._url(f"api/render/proxy/{_segment(render_id)}/download")
        try:
            return self._fetch(Source.PROXY, httpx.URL(proxied), sink, max_bytes)
        except NemoError as exc:
            # The token can be mended, and what may be repeated is not hidden by what may not.
            if failed is None or exc.repeatable or isinstance(exc, TokenRefused):
                raise
            raise (failed if failed.repeatable else exc) from None

    def _fetch(self, source: Source, url: httpx.URL, sink: BinaryIO, max_bytes: int) -> Download:
        with_token = source is Source.PROXY
        outside = DownloadClients(
            self._http,
            api_url=self._api_url,
            private_hosts=self._private_hosts,
            seconds=DOWNLOAD_SECONDS,
        )
        return fetch(
            outside,
            url,
            headers=self._headers(Call.DOWNLOAD) if with_token else self._attribution,
            redirect_headers=self._attribution,
            sink=sink,
            max_bytes=max_bytes,
            source=source,
            clock=self._clock,
        )

    def _url(self, path: str) -> str:
        return f"{self._api_url}/{path}"

    def _upload_url(self, session_id: str) -> str:
        return self._url(f"api/upload-video/{_AGENT}/{_USER}/{_segment(session_id)}")

    def _headers(self, call: Call) -> dict[str, str]:
        return {**self._attribution, **bearer(call, self._token)}

    def _json_request(self, call: Call, url: str, body: Mapping[str, Any]) -> httpx.Request:
        headers = {**self._headers(call), "Content-Type": "application/json"}
        return self._http.build_request("POST", url, headers=headers, content=_encode(body))

    def _post(self, call: Call, url: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._done(call, self._json_request(call, url, body))

    def _get(self, call: Call, url: str) -> dict[str, Any]:
        return self._done(call, self._http.build_request("GET", url, headers=self._headers(call)))

    def _done(self, call: Call, request: httpx.Request) -> dict[str, Any]:
        return read_envelope(call, exchange(self._http, call, request), clock=self._clock)

    def _enveloped(self, call: Call, request: httpx.Request) -> None:
        """Demand the word that it is done: a photo taken for uploaded would be paid without."""
        if envelope_code(self._done(call, request)) != DONE:
            raise BadAnswer(call, "the reply has no code")


def _segment(identifier: str) -> str:
    """Quote an identifier for use as one segment of a path.

    Raises:
        ValueError: It names no resource; no identifier that this client gave out does.
    """
    if identifier in ("", ".", ".."):
        raise ValueError(f"not an identifier: {identifier!r}")
    return quote(identifier, safe="")


def _encode(body: Mapping[str, Any]) -> bytes:
    """Encode as plain ASCII: a draft or a prompt may hold halves of characters."""
    return json.dumps(body).encode("ascii")
