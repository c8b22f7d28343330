"""Replies and refusal_middleware, in the forms in which the API sends them."""

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

from sandbox.option_types import ErrorStyle

# HTTP status of the vendor's own codes where they do not travel with 200.
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
    """A call that is answered with an error.

    Attributes:
        code: The vendor's code (1001-4002) or an HTTP status.
        message: What is wrong; None says it in the code's own words.
        style: The way it travels; None is the natural one.
        headers: Further headers of the reply.
    """

    code: int
    message: str | None = None
    style: Literal["envelope", "status"] | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def reply(self, usual: ErrorStyle) -> web.Response:
        """The reply.

        Args:
            usual: How the vendor's own codes travel where this refusal leaves it open. HTTP's own
                codes travel as a status, and those from 500 on without a JSON body.
        """
        told = self.message or _MESSAGES.get(self.code, "refused")
        plain = self.code in _HTTP_CODES
        style = self.style or ("status" if plain else usual.value)
        if plain and self.code >= _SERVER_ERROR and style == "status":
            return web.Response(status=self.code, text="upstream error\n", headers=self.headers)
        status = 200 if style == "envelope" else _STATUS.get(self.code, self.code)
        if status not in range(200, 600):
            status = 400
        body = {"code": self.code, "message": told, "data": None}
        return web.json_response(body, status=status, headers=self.headers)


def enveloped(data: dict[str, Any]) -> web.Response:
    """A reply that went well."""
    return web.json_response({"code": 0, "message": "success", "data": data}, dumps=_compact)


def bare(data: dict[str, Any]) -> web.Response:
    """A reply without an envelope, as the render calls send it."""
    return web.json_response(data, dumps=_compact)


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
