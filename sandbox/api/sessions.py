"""Handlers of tokens, sessions, their messages, and the balance."""

import asyncio

from aiohttp import hdrs, web

from sandbox.api.middleware import (
    BACKEND,
    account_of,
    body_of,
    close_connection,
    fault_of,
    is_attributed,
    project_of,
    reset_connection,
)
from sandbox.responses import RefusalError, enveloped
from sandbox.state.call_log import SessionEntry
from sandbox.state.projects import Json

_CLAIM_SECONDS = 7 * 24 * 3600
_STREAM_HEADERS = {
    hdrs.CONTENT_TYPE: "text/event-stream; charset=utf-8",
    hdrs.CACHE_CONTROL: "no-cache",
}


async def issue_token(request: web.Request) -> web.StreamResponse:
    """Issue an anonymous token to a client id."""
    backend = request.app[BACKEND]
    client_id = request.headers.get("X-Client-Id", "").strip()
    if not client_id:
        raise RefusalError(400)
    issued = backend.accounts.issue(client_id, request.remote or "")
    if issued is None:
        raise RefusalError(429, "one token per client and ten per address in 7 days")
    token, account = issued
    if not is_attributed(request):
        account.unattributed = True
    seconds = round(backend.options.token_seconds)
    return enveloped({"token": token, "credits": account.available, "expires_in": seconds})


async def open_session(request: web.Request) -> web.StreamResponse:
    """Create a task with its session."""
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
    """Issue a claim token, which opens a project in a browser."""
    account_of(request)
    body = await body_of(request)
    project = project_of(request, body.get("session_id"))
    if body.get("task_id") != project.task_id:
        raise RefusalError(1002)
    token = f"clm_{project.task_id.removeprefix('tsk_')}"
    return enveloped({"claim_token": token, "expires_in": _CLAIM_SECONDS})


async def run_message(request: web.Request) -> web.StreamResponse:
    """Run a message and send its event stream until the work ends."""
    backend = request.app[BACKEND]
    account = account_of(request)
    body = await body_of(request)
    project = backend.projects.find(str(body.get("session_id")), account)
    if project is None:
        return web.json_response({"detail": "Session not found"}, status=404)
    fault = fault_of(request)
    run = backend.streams.accept(project, _text_of(body), fault)
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
        ended_well = await asyncio.shield(run.stream_end)
    finally:
        run.cancel()
    if not ended_well:
        close_connection(request)
    return response


async def get_state(request: web.Request) -> web.StreamResponse:
    """Send the session's current state."""
    return enveloped({"state": project_of(request, request.match_info["session"]).state()})


async def get_credits(request: web.Request) -> web.StreamResponse:
    """Send the balance, with the credits that running work has reserved."""
    account = account_of(request)
    balance = {"available": account.available, "frozen": account.frozen, "total": account.total}
    return enveloped(balance)


def _text_of(body: Json) -> str:
    message = body.get("new_message")
    parts = message.get("parts") if isinstance(message, dict) else None
    if not isinstance(parts, list):
        raise RefusalError(422, "new_message.parts is needed")
    texts = [part["text"] for part in parts if isinstance(part, dict) and "text" in part]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise RefusalError(422, "a text is needed")
    return "\n".join(texts)
