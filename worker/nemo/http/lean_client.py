"""An HTTP client that does less for each request than httpx's own.

httpx merges the client's headers, parameters and cookies into each request, and looks at each
response for cookies, redirects and authentication. The API's calls need none of this work, which
took 40 percent of the processor time of a call.
"""

from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import httpx

_HEADERS: Final = {
    "Accept": "*/*",
    "Connection": "keep-alive",
    "User-Agent": f"python-httpx/{httpx.__version__}",
}
"""The headers that httpx's own client sends by default, but for the content encodings."""


class LeanClient(httpx.Client):
    """A client for requests that are complete in themselves, whose responses are read as streams.

    Everything else, such as ``get``, works as in httpx's own client. Cookies are neither kept nor
    sent, so that no call of one account carries a cookie that the API has set for another one.

    Args:
        transport: The connections. The client closes them.
        timeout: The timeouts of requests that name none.
    """

    def __init__(self, transport: httpx.BaseTransport, timeout: httpx.Timeout) -> None:
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
        super().__init__(transport=transport, timeout=timeout, trust_env=False, cookies=no_cookies)
        self._own_transport = transport
        self._default_timeout = timeout.as_dict()

    def build_request(self, method: str, url: httpx.URL | str, **details: Any) -> httpx.Request:  # noqa: ANN401 - httpx's
        """Build a request with no other headers than its own and the usual ones."""
        if details.keys() - {"headers", "content", "files", "timeout", "extensions"}:
            return super().build_request(method, url, **details)
        timeout, extensions = details.get("timeout"), details.get("extensions") or {}
        return httpx.Request(
            method,
            url,
            headers={**_HEADERS, **(details.get("headers") or {})},
            content=details.get("content"),
            files=details.get("files"),
            extensions={
                "timeout": self._default_timeout if timeout is None else timeout.as_dict(),
                **extensions,
            },
        )

    def send(
        self,
        request: httpx.Request,
        *,
        stream: bool = False,
        **details: Any,  # noqa: ANN401 - httpx's
    ) -> httpx.Response:
        """Send a request.

        With ``stream``, the caller reads and closes the response, and redirects are not followed.
        """
        if not stream or details or request.url.userinfo:
            return super().send(request, stream=stream, **details)
        response = self._own_transport.handle_request(request)
        response.request = request
        return response
