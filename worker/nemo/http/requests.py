"""Authenticated requests to the video API, each with an envelope as its response."""

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from worker.faultpoints import faultpoint
from worker.nemo.envelope import DONE, envelope_code, read_envelope
from worker.nemo.errors import BadAnswer, Call
from worker.nemo.http.headers import Identity, bearer
from worker.nemo.http.transport import http_errors, read_response


class ApiRequests:
    """Builds and sends the requests of one client.

    Args:
        http: The HTTP client.
        base_url: Base URL of the API.
        identity: The values of the attribution headers.
        token: The access token, if there is one.
        clock: Returns seconds since the epoch.

    Attributes:
        attribution: The headers of a request without the token.
    """

    def __init__(
        self,
        http: httpx.Client,
        *,
        base_url: str,
        identity: Identity,
        token: SecretStr | None,
        clock: Callable[[], float],
    ) -> None:
        self.http = http
        # Compressed responses are not requested: they save nothing at these sizes, delay events
        # of a stream, and a small one can expand to gigabytes.
        self.attribution = {**identity.headers(), "Accept-Encoding": "identity"}
        self.clock = clock
        self.base_url = base_url
        self._token = token

    def url(self, path: str) -> str:
        """Return the full URL of a path of the API."""
        return f"{self.base_url}/{path}"

    def headers(self, call: Call) -> dict[str, str]:
        """Return the headers of a request with the token.

        Raises:
            TokenRefused: There is no token, or it is not valid in a header.
        """
        return {**self.attribution, **bearer(call, self._token)}

    def get(self, call: Call, path: str) -> dict[str, Any]:
        """Send a GET request and return the envelope of its response."""
        return self.send(
            call, self.http.build_request("GET", self.url(path), headers=self.headers(call))
        )

    def post(self, call: Call, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a POST request with a JSON body and return the envelope of its response."""
        headers = {**self.headers(call), "Content-Type": "application/json"}
        request = self.http.build_request(
            "POST", self.url(path), headers=headers, content=encode_json(body)
        )
        return self.send(call, request)

    def send(self, call: Call, request: httpx.Request) -> dict[str, Any]:
        """Send a request and return the envelope of its response."""
        with faultpoint(f"api.{call}"), http_errors(call):
            response = self.http.send(request, stream=True)
            try:
                whole = read_response(call, response)
            finally:
                response.close()
        return read_envelope(call, whole, clock=self.clock)


def require_done(call: Call, envelope: Mapping[str, Any]) -> None:
    """Check that an envelope has the code of success: a message without its image is paid in vain.

    Raises:
        BadAnswer: The envelope has no code.
    """
    if envelope_code(envelope) != DONE:
        raise BadAnswer(call, "the response has no code")


def path_segment(identifier: str) -> str:
    """Quote an identifier as one segment of a path.

    Raises:
        ValueError: It is empty or a relative path, which no identifier of the API is.
    """
    if identifier in ("", ".", ".."):
        raise ValueError(f"not an identifier: {identifier!r}")
    return quote(identifier, safe="")


def encode_json(body: Mapping[str, Any]) -> bytes:
    """Encode as plain ASCII: a draft or a prompt may contain unpaired surrogates."""
    return json.dumps(body).encode("ascii")
