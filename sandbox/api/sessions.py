"""The calls of the API, apart from downloads."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import unquote, urlsplit

from aiohttp import BodyPartReader, ClientError, ClientSession, ClientTimeout, hdrs, web

from sandbox.api.middleware import (
    BACKEND,
    account_of,
    api_call,
    body_of,
    close_connection,
    fault_of,
    is_attributed,
    reset_connection,
)
from sandbox.faults import Call
from sandbox.responses import RefusalError, bare, enveloped
from sandbox.state.accounts import Account
from sandbox.state.call_log import SessionEntry, UploadEntry
from sandbox.state.projects import Json, Project, Upload, ready_for_export
from sandbox.state.renders import Render
from sandbox.state.uploads import CHUNK

_FETCH_SECONDS = 30.0
_STREAM_HEADERS = {
    hdrs.CONTENT_TYPE: "text/event-stream; charset=utf-8",
    hdrs.CACHE_CONTROL: "no-cache",
}


def api_routes() -> list[web.RouteDef]:
    """The routes of the contract's calls."""
    session = "/api/tasks/me/with-session/nemo_agent"
    return [
        web.post("/api/auth/anonymous-token", api_call(Call.TOKEN, issue_token)),
        web.post(session, api_call(Call.SESSION, open_session)),
        web.post("/api/auth/claim-token", api_call(Call.CLAIM, claim)),
        web.post("/api/upload-video/nemo_agent/me/{session}", api_call(Call.UPLOAD, upload)),
        web.post("/run_sse", api_call(Call.MESSAGE, run_message)),
        web.get("/api/state/nemo_agent/me/{session}/latest", api_call(Call.STATE, get_state)),
        web.get("/api/credits/balance/simple", api_call(Call.CREDITS, get_credits)),
        web.post("/api/render/proxy/lambda", api_call(Call.EXPORT, export)),
        web.get("/api/render/proxy/lambda/{render}", api_call(Call.POLL, get_render)),
    ]


async def issue_token(request: web.Request) -> web.StreamResponse:
    """An anonymous token for a client id."""
    backend = request.app[BACKEND]
    client_id = request.headers.get("X-Client-Id", "").strip()
    if not client_id:
        raise RefusalError(400)
    issued = backend.accounts.issue(client_id, request.remote or "")
    if issued is None:
        raise RefusalError(429, "one token per client and ten per address in 7 days")
    if not is_attributed(request):
        issued.account.unattributed = True
    told = {
        "token": issued.token,
        "credits": issued.account.available,
        "expires_in": round(issued.seconds),
    }
    return enveloped(told)


async def open_session(request: web.Request) -> web.StreamResponse:
    """A task with a session of its own."""
    backend = request.app[BACKEND]
    account = account_of(request)
    project = backend.projects.open(account)
    backend.log.sessions.append(
        SessionEntry(
            session_id=project.session_id,
            task_id=project.task_id,
            account=account.name,
            created_at=backend.clock.now(),
        )
    )
    return enveloped({"task_id": project.task_id, "session_id": project.session_id})


async def claim(request: web.Request) -> web.StreamResponse:
    """A claim token, which opens a project in a browser."""
    account = account_of(request)
    body = await body_of(request)
    project = _project(request, account, body.get("session_id"))
    if body.get("task_id") != project.task_id:
        raise RefusalError(1002)
    claimed = f"clm_{project.task_id.removeprefix('tsk_')}"
    return enveloped({"claim_token": claimed, "expires_in": 604800})


async def upload(request: web.Request) -> web.StreamResponse:
    """Files by multipart, or by address."""
    project = _project(request, account_of(request), request.match_info["session"])
    if request.content_type.startswith("multipart/"):
        stored = await _receive(request)
    else:
        stored = await _fetch_all(request)
    backend = request.app[BACKEND]
    for file in stored:
        project.uploads.append(file)
        backend.log.uploads.append(
            UploadEntry(
                session_id=project.session_id,
                name=file.name,
                bytes=file.size,
                sha256=file.sha256,
                kind=file.kind,
                at=backend.clock.now(),
            )
        )
    origin = f"{request.scheme}://{request.host}"
    files = [
        {"name": file.name, "size": file.size, "url": f"{origin}/uploads/{file.sha256}"}
        for file in stored
    ]
    return enveloped({"files": files})


async def run_message(request: web.Request) -> web.StreamResponse:
    """A message, answered with an event stream for as long as the work takes."""
    backend = request.app[BACKEND]
    account = account_of(request)
    body = await body_of(request)
    project = backend.projects.find(str(body.get("session_id")), account)
    if project is None:
        return web.json_response({"detail": "Session not found"}, status=404)
    fault = fault_of(request)
    run = backend.streams.begin(project, _text_of(body), fault)
    if fault is not None and fault.action == "reset":
        backend.streams.start(run, None)
        reset_connection(request)
        return web.Response(status=503)
    response = web.StreamResponse(headers=_STREAM_HEADERS)
    try:
        await response.prepare(request)
    except BaseException:
        run.refuse()
        raise
    backend.streams.start(run, response)
    try:
        ended_well = await asyncio.shield(run.over)
    finally:
        run.abandon()
    if not ended_well:
        close_connection(request)
    return response


async def get_state(request: web.Request) -> web.StreamResponse:
    """The session as it stands."""
    project = _project(request, account_of(request), request.match_info["session"])
    return enveloped({"state": project.state()})


async def get_credits(request: web.Request) -> web.StreamResponse:
    """The balance, and what is reserved by running work."""
    account = account_of(request)
    told = {"available": account.available, "frozen": account.frozen, "total": account.total}
    return enveloped(told)


async def export(request: web.Request) -> web.StreamResponse:
    """Start a render under the caller's id."""
    account = account_of(request)
    body = await body_of(request)
    if account.unattributed or not account.may_render:
        raise RefusalError(402)
    project = _project(request, account, body.get("sessionId"))
    identifier, draft = body.get("id"), body.get("draft")
    if not isinstance(identifier, str) or not identifier or "/" in identifier:
        raise RefusalError(422, "an id is needed")
    if not isinstance(draft, dict) or not ready_for_export(draft):
        raise RefusalError(422, "the draft is empty")
    render = request.app[BACKEND].renders.submit(identifier, project, draft, fault_of(request))
    return bare(_render_json(request, render))


async def get_render(request: web.Request) -> web.StreamResponse:
    """How far a render is."""
    backend = request.app[BACKEND]
    account = account_of(request)
    render = backend.renders.find(request.match_info["render"])
    if render is None or render.project.account is not account:
        raise RefusalError(404, "render not found")
    render.entry.polls.append(backend.clock.now())
    fault = fault_of(request)
    if fault is not None and fault.action in {"fail", "stuck"}:
        backend.renders.force_outcome(render, fault.action)
    return bare(_render_json(request, render))


def _render_json(request: web.Request, render: Render) -> Json:
    told: Json = {"id": render.entry.id, "status": render.entry.status}
    if render.file is not None:
        name = request.app[BACKEND].renders.link(render)
        told["output"] = {
            "url": f"{request.scheme}://{request.host}/renders/{name}",
            "duration": render.clip.seconds,
            "size": render.file.stat().st_size,
        }
    return told


def _project(request: web.Request, account: Account, session_id: object) -> Project:
    project = request.app[BACKEND].projects.find(str(session_id), account)
    if project is None:
        raise RefusalError(1002)
    return project


def _text_of(body: Json) -> str:
    message = body.get("new_message")
    parts = message.get("parts") if isinstance(message, dict) else None
    if not isinstance(parts, list):
        raise RefusalError(422, "new_message.parts is needed")
    texts = [part["text"] for part in parts if isinstance(part, dict) and "text" in part]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise RefusalError(422, "a text is needed")
    return "\n".join(texts)


async def _receive(request: web.Request) -> list[Upload]:
    store = request.app[BACKEND].store
    try:
        stored = [
            await store.keep(part.filename or "file", _chunks(part))
            async for part in await request.multipart()
            if isinstance(part, BodyPartReader) and part.name == "files"
        ]
    except ValueError:
        raise RefusalError(422, "not a well-formed multipart body") from None
    if not stored:
        raise RefusalError(422, "a multipart field named files is needed")
    return stored


async def _chunks(part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await part.read_chunk(CHUNK):
        yield chunk


async def _fetch_all(request: web.Request) -> list[Upload]:
    body = await body_of(request)
    urls = body.get("urls")
    if body.get("source_type") != "url" or not isinstance(urls, list) or not urls:
        raise RefusalError(422, "urls and source_type are needed")
    async with ClientSession(timeout=ClientTimeout(total=_FETCH_SECONDS)) as client:
        return [await _fetch(request, client, str(url)) for url in urls]


async def _fetch(request: web.Request, client: ClientSession, url: str) -> Upload:
    name = unquote(urlsplit(url).path.rpartition("/")[2]) or "file"
    try:
        async with client.get(url, raise_for_status=True) as response:
            content = response.content.iter_chunked(CHUNK)
            return await request.app[BACKEND].store.keep(name, content)
    except (ClientError, TimeoutError, ValueError):
        raise RefusalError(422, "the address cannot be fetched") from None
