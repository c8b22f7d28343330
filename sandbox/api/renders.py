"""Handlers of exports: submit, poll, and download by link or through the API."""

import asyncio
from pathlib import Path

from aiohttp import hdrs, web

from sandbox.api.middleware import (
    BACKEND,
    account_of,
    body_of,
    close_connection,
    fault_of,
    project_of,
)
from sandbox.faults import Fault
from sandbox.responses import RefusalError, bare
from sandbox.state.projects import Json, ready_for_export
from sandbox.state.renders import Render

_VIDEO = "video/mp4"


async def export(request: web.Request) -> web.StreamResponse:
    """Start a render under the caller's id."""
    account = account_of(request)
    body = await body_of(request)
    if account.unattributed or not account.may_render:
        raise RefusalError(402)
    project = project_of(request, body.get("sessionId"))
    identifier, draft = body.get("id"), body.get("draft")
    if not isinstance(identifier, str) or not identifier or "/" in identifier:
        raise RefusalError(422, "an id is needed")
    if not isinstance(draft, dict) or not ready_for_export(draft):
        raise RefusalError(422, "the draft is empty")
    render = request.app[BACKEND].renders.submit(identifier, project, draft, fault_of(request))
    return bare(_as_json(request, render))


async def poll(request: web.Request) -> web.StreamResponse:
    """Send the status of a render."""
    backend = request.app[BACKEND]
    render = _own_render(request)
    render.entry.polls.append(backend.clock.now())
    fault = fault_of(request)
    if fault is not None and fault.action in {"fail", "stuck"}:
        backend.renders.force_outcome(render, fault.action)
    return bare(_as_json(request, render))


async def download_by_link(request: web.Request) -> web.StreamResponse:
    """Send the file of a download link. A request with a token is recorded and refused."""
    backend = request.app[BACKEND]
    if hdrs.AUTHORIZATION in request.headers:
        backend.log.tokens_on_links += 1
        raise RefusalError(400, "only one way of authorization is allowed")
    render = backend.renders.find_by_link(request.match_info["render"])
    if render is None:
        raise RefusalError(403, "the link is unknown or has expired")
    return await _send(request, render)


async def download_by_proxy(request: web.Request) -> web.StreamResponse:
    """Send the file of one of the account's own renders."""
    return await _send(request, _own_render(request))


def _own_render(request: web.Request) -> Render:
    account = account_of(request)
    render = request.app[BACKEND].renders.find(request.match_info["render"])
    if render is None or render.project.account is not account:
        raise RefusalError(404, "render not found")
    return render


def _as_json(request: web.Request, render: Render) -> Json:
    reply: Json = {"id": render.entry.id, "status": render.entry.status}
    if render.file is not None:
        name = request.app[BACKEND].renders.link(render)
        reply["output"] = {
            "url": f"{request.scheme}://{request.host}/renders/{name}",
            "duration": render.clip.seconds,
            "size": render.file.stat().st_size,
        }
    return reply


async def _send(request: web.Request, render: Render) -> web.StreamResponse:
    fault = fault_of(request)
    action = fault.action if fault is not None else None
    if render.file is None or action == "gone":
        raise RefusalError(404, "no such file")
    if action == "html":
        page = "<!doctype html><title>Sign in</title><p>Please sign in to go on.</p>"
        return web.Response(text=page, content_type="text/html")
    if fault is not None and action == "cut":
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
