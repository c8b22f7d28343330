"""Finished files: by a link that needs no token, or through the API with one."""

import asyncio
from pathlib import Path

from aiohttp import hdrs, web

from sandbox.api.middleware import BACKEND, account_of, api_call, close_connection, fault_of
from sandbox.faults import Call, Fault
from sandbox.responses import RefusalError
from sandbox.state.renders import Render

_VIDEO = "video/mp4"


def download_routes() -> list[web.RouteDef]:
    """The two ways to a file."""
    return [
        web.get(
            "/renders/{render}", api_call(Call.DOWNLOAD, by_link, via="link"), allow_head=False
        ),
        web.get(
            "/api/render/proxy/{render}/download",
            api_call(Call.DOWNLOAD, by_proxy, via="proxy"),
            allow_head=False,
        ),
    ]


async def by_link(request: web.Request) -> web.StreamResponse:
    """The file behind a link. A token sent along is noted and refused, as signed links do."""
    backend = request.app[BACKEND]
    if hdrs.AUTHORIZATION in request.headers:
        backend.log.tokens_on_links += 1
        raise RefusalError(400, "only one way of authorisation is allowed")
    render = backend.renders.find_by_link(request.match_info["render"])
    if render is None:
        raise RefusalError(403, "the link is unknown or has ended")
    return await _send(request, render)


async def by_proxy(request: web.Request) -> web.StreamResponse:
    """The file of an account's own render."""
    account = account_of(request)
    render = request.app[BACKEND].renders.find(request.match_info["render"])
    if render is None or render.project.account is not account:
        raise RefusalError(404, "render not found")
    return await _send(request, render)


async def _send(request: web.Request, render: Render) -> web.StreamResponse:
    fault = fault_of(request)
    if render.file is None or (fault is not None and fault.action == "gone"):
        raise RefusalError(404, "no such file")
    if fault is not None and fault.action == "html":
        page = "<!doctype html><title>Sign in</title><p>Please sign in to go on.</p>"
        return web.Response(text=page, content_type="text/html")
    if fault is not None and fault.action == "cut":
        return await _send_half(request, render.file, fault)
    render.entry.downloads += 1
    return web.FileResponse(render.file, headers={hdrs.CONTENT_TYPE: _VIDEO})


async def _send_half(request: web.Request, file: Path, fault: Fault) -> web.StreamResponse:
    content = await asyncio.to_thread(file.read_bytes)
    half = content[: len(content) // 2]
    response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: _VIDEO})
    response.content_length = len(half) if fault.clean else len(content)
    await response.prepare(request)
    await response.write(half)
    if not fault.clean:
        close_connection(request)
    return response
