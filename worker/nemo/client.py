"""The client of the video API: one method for each of its calls (docs/video-api.md)."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import BinaryIO
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from worker.nemo.draft import Draft
from worker.nemo.envelope import DONE, envelope_code
from worker.nemo.errors import Call
from worker.nemo.http.download import ClipDownload
from worker.nemo.http.headers import Identity
from worker.nemo.http.requests import ApiRequests, encode_json, path_segment, require_done
from worker.nemo.response_parsing import (
    read_balance,
    read_claim,
    read_render,
    read_session,
    read_state,
    read_token,
)
from worker.nemo.responses import Balance, RenderStatus, Session, SessionState, TokenGrant
from worker.nemo.streaming.message_stream import MessageStream

_AGENT = "nemo_agent"
_USER = "me"
_OUTPUT: Mapping[str, str] = {"format": "mp4", "quality": "high"}


class NemoClient:
    """Calls the video API with one token. Every method raises a ``NemoError`` if its call fails.

    A client has no state beyond its arguments, so a new token needs a new client.

    Args:
        http: The HTTP client of the short calls (``transport.open_http``); the caller closes it.
        api_url: Base URL of the API.
        web_url: Base URL of the links for people.
        identity: The values of the attribution headers.
        token: The access token; needed by every call but ``anonymous_token``.
        private_hosts: Hosts of clips that may be private, besides the API's own.
        clock: Returns seconds since the epoch.
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
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._web_url = web_url.rstrip("/")
        self._private_hosts = tuple(private_hosts)
        self._api = ApiRequests(
            http, base_url=api_url.rstrip("/"), identity=identity, token=token, clock=clock
        )

    def anonymous_token(self, client_id: str) -> TokenGrant:
        """Get a token for a client id; each id gets one a week (docs/video-api.md, "Calls").

        Raises:
            ClientIdMissing: The id was not accepted.
            RateLimited: The id or the IP address has reached its limit of tokens.
        """
        request = self._api.http.build_request(
            "POST",
            self._api.url("api/auth/anonymous-token"),
            headers={**self._api.attribution, "X-Client-Id": client_id},
        )
        return read_token(self._api.send(Call.TOKEN, request))

    def create_session(self, language: str = "en") -> Session:
        """Create a session whose agent replies in a language."""
        path = f"api/tasks/{_USER}/with-session/{_AGENT}"
        body = {"task_name": "project", "language": language}
        return read_session(self._api.post(Call.SESSION, path, body))

    def claim_link(self, task_id: str, session_id: str) -> str:
        """Create the link that opens a session's project in a browser, valid for 7 days."""
        body = {"task_id": task_id, "session_id": session_id}
        claim = read_claim(self._api.post(Call.CLAIM, "api/auth/claim-token", body))
        return f"{self._web_url}/workspace/claim?ct={quote(claim.get_secret_value(), safe='')}"

    def upload_file(self, session_id: str, name: str, content_type: str, file: BinaryIO) -> None:
        """Upload a file from its beginning, streamed.

        Args:
            session_id: The session.
            name: The name that the agent sees.
            content_type: Its media type.
            file: A seekable binary file.

        Raises:
            FileTypeRefused: The type is not accepted.
            FileTooLarge: The file is too large.
        """
        # A file name may contain bytes that are not valid text.
        sendable = name.encode("utf-8", errors="replace").decode()
        request = self._api.http.build_request(
            "POST",
            self._api.url(_upload_path(session_id)),
            headers=self._api.headers(Call.UPLOAD),
            files={"files": (sendable, file, content_type)},
        )
        require_done(Call.UPLOAD, self._api.send(Call.UPLOAD, request))

    def upload_urls(self, session_id: str, urls: Sequence[str]) -> None:
        """Let the API download files into a session by their URLs."""
        body = {"urls": list(urls), "source_type": "url"}
        require_done(Call.UPLOAD, self._api.post(Call.UPLOAD, _upload_path(session_id), body))

    def state(self, session_id: str) -> SessionState:
        """Read a session's state.

        Raises:
            SessionNotFound: The session does not exist under this token.
        """
        path = f"api/state/{_AGENT}/{_USER}/{path_segment(session_id)}/latest"
        return read_state(self._api.get(Call.STATE, path))

    def credits(self) -> Balance:
        """Read the account's balance."""
        return read_balance(self._api.get(Call.CREDITS, "api/credits/balance/simple"))

    def message(
        self,
        session_id: str,
        text: str,
        *,
        read_timeout: float,
        may_send: Callable[[], bool] = lambda: True,
    ) -> MessageStream:
        """Prepare a message. Entering the stream sends it, which costs credits.

        Args:
            session_id: The session.
            text: The text of the message.
            read_timeout: The longest silence on the connection, in seconds.
            may_send: Called directly before the first byte. If it returns False, nothing is sent.

        Raises:
            TokenRefused: There is no valid token.
        """
        body = {
            "app_name": _AGENT,
            "user_id": _USER,
            "session_id": session_id,
            "new_message": {"parts": [{"text": text}]},
        }
        return MessageStream(
            url=self._api.url("run_sse"),
            headers={
                **self._api.headers(Call.MESSAGE),
                "Accept": "text/event-stream",
                "Content-Type": "application/json",
            },
            body=encode_json(body),
            read_timeout=read_timeout,
            may_send=may_send,
            clock=self._api.clock,
        )

    def submit_render(self, render_id: str, session_id: str, draft: Draft) -> None:
        """Submit a draft for rendering, which costs no credits.

        Args:
            render_id: A unique id made by the caller.
            session_id: The session.
            draft: The draft, as it was read.

        Raises:
            PlanRefused: The account's plan does not include exports.
        """
        body = {"id": render_id, "sessionId": session_id, "draft": draft.raw, "output": _OUTPUT}
        found = self._api.post(Call.EXPORT, "api/render/proxy/lambda", body)
        if envelope_code(found) != DONE:
            # A response without a code is a success if it has a readable render status.
            read_render(Call.EXPORT, found)

    def render_status(self, render_id: str) -> RenderStatus:
        """Read the status of a render."""
        path = f"api/render/proxy/lambda/{path_segment(render_id)}"
        return read_render(Call.POLL, self._api.get(Call.POLL, path))

    def download(self, url: str | None, render_id: str, sink: BinaryIO, max_bytes: int) -> None:
        """Download a clip: from its own address without the token, else through the API with it.

        Args:
            url: The address in the render's status, if it named one.
            render_id: The render.
            sink: A seekable file; emptied before each attempt.
            max_bytes: The largest clip that is accepted.

        Raises:
            NemoError: Both downloads failed. It is the error of the two that is to be acted on.
        """
        ClipDownload(self._api, self._private_hosts, sink, max_bytes).run(url, render_id)


def _upload_path(session_id: str) -> str:
    return f"api/upload-video/{_AGENT}/{_USER}/{path_segment(session_id)}"
