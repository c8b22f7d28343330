"""Replies and refusals in the forms of the API."""

import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from sandbox.option_types import ErrorStyle

# HTTP statuses of the vendor's own codes where they are not sent with 200.
_STATUS = {1001: 401, 1002: 404, 1010: 401, 1011: 401, 2001: 400, 4001: 415, 4002: 413}
_HTTP_CODES = range(400, 600)
_SERVER_ERROR = 500

_MESSAGES = {
    400: "missing X-Client-Id",
    402: "export is not available on the free plan",
    404: "not found",
    429: "too many requests",
    1001: "token expired or invalid",
    1002: "session not found",
    2001: "insufficient credits",
    4001: "unsupported file type",
    4002: "file too large",
}


@dataclass(slots=True)
class RefusalError(Exception):
    """A call to which the stand-in replies with an error.

    Attributes:
        code: The vendor's code (1001-4002) or an HTTP status.
        message: What is wrong; None means the usual message of the code.
        style: How it is sent; None means as usual for the code.
        headers: Further headers of the reply.
    """

    code: int
    message: str | None = None
    style: ErrorStyle | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def reply(self, usual: ErrorStyle) -> web.Response:
        """Build the reply.

        Args:
            usual: How the vendor's own codes are usually sent. HTTP's own codes are usually sent
                as a status, those from 500 on without a JSON body.
        """
        message = self.message or _MESSAGES.get(self.code, "refused")
        plain = self.code in _HTTP_CODES
        style = self.style or (ErrorStyle.STATUS if plain else usual)
        if plain and self.code >= _SERVER_ERROR and style is ErrorStyle.STATUS:
            return web.Response(status=self.code, text="upstream error\n", headers=self.headers)
        status = 200 if style is ErrorStyle.ENVELOPE else _STATUS.get(self.code, self.code)
        if status not in range(200, 600):
            status = 400
        body = {"code": self.code, "message": message, "data": None}
        return web.json_response(body, status=status, headers=self.headers)


def enveloped(data: dict[str, Any]) -> web.Response:
    """Build the reply of a successful call, in an envelope."""
    return web.json_response({"code": 0, "message": "success", "data": data}, dumps=_compact)


def bare(data: dict[str, Any]) -> web.Response:
    """Build a reply without an envelope, as in the calls for renders."""
    return web.json_response(data, dumps=_compact)


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
