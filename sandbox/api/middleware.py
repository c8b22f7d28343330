"""The parts that all calls share: the call log, tokens, request bodies and injected faults."""

import asyncio
from collections.abc import Awaitable, Callable
from json import JSONDecodeError
from typing import Any

from aiohttp import hdrs, web

from sandbox.backend import Backend
from sandbox.faults import Call, CallContext, Fault
from sandbox.responses import RefusalError
from sandbox.state.accounts import Account
from sandbox.state.call_log import RequestEntry
from sandbox.state.projects import Project

BACKEND = web.AppKey("backend", Backend)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_ATTRIBUTION = ("X-Skill-Source", "X-Skill-Version", "X-Skill-Platform")
_SOURCE = "ai-image-to-video-extender"
_FAULT = web.RequestKey("fault", Fault)

# Downloads by link go to a file server, which checks neither tokens nor attribution headers.
_UNATTRIBUTED = "link"


def api_call(call: Call, handler: Handler, *, via: str | None = None) -> Handler:
    """Wrap the handler of an API call: log the call, apply its fault, and send refusals.

    Args:
        call: The call.
        handler: Its handler.
        via: For a download: `link` or `proxy`.
    """

    async def wrapped(request: web.Request) -> web.StreamResponse:
        backend = request.app[BACKEND]
        entry = RequestEntry(
            at=backend.clock.now(),
            call=call.value,
            headers_ok=via == _UNATTRIBUTED or is_attributed(request),
        )
        backend.log.request(entry)
        try:
            response = await _answer(backend, request, call, handler, via)
        except RefusalError as refusal:
            entry.code = refusal.code
            response = refusal.reply(backend.options.error_style)
        except asyncio.CancelledError:
            entry.status = 0
            raise
        except web.HTTPException as error:
            entry.status = entry.code = error.status
            raise
        else:
            entry.code = 0 if response.status < web.HTTPBadRequest.status_code else response.status
        entry.status = response.status if _is_connected(request) else 0
        return response

    return wrapped


@web.middleware
async def refusal_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Send the refusal of a control. Those of API calls are sent by `api_call`."""
    try:
        return await handler(request)
    except RefusalError as refusal:
        return refusal.reply(request.app[BACKEND].options.error_style)


def fault_of(request: web.Request) -> Fault | None:
    """Return the fault of this call, for a handler that applies it itself."""
    return request.get(_FAULT)


def is_attributed(request: web.Request) -> bool:
    """Return whether the three attribution headers were sent."""
    complete = all(request.headers.get(name) for name in _ATTRIBUTION)
    return complete and request.headers["X-Skill-Source"] == _SOURCE


def account_of(request: web.Request) -> Account:
    """Return the account whose token was sent.

    Raises:
        RefusalError: 1001: there is no valid token.
    """
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    account = request.app[BACKEND].accounts.find(token.strip())
    if scheme.lower() != "bearer" or account is None:
        raise RefusalError(1001)
    if not is_attributed(request):
        account.unattributed = True
    return account


def project_of(request: web.Request, session_id: object) -> Project:
    """Return the session of the account whose token was sent.

    Raises:
        RefusalError: 1001: there is no valid token; 1002: the account has no such session.
    """
    project = request.app[BACKEND].projects.find(str(session_id), account_of(request))
    if project is None:
        raise RefusalError(1002)
    return project


async def body_of(request: web.Request) -> dict[str, Any]:
    """Return the JSON object that was sent.

    Raises:
        RefusalError: 422: the body is not a JSON object.
    """
    try:
        body = await request.json()
    except (JSONDecodeError, UnicodeDecodeError):
        body = None
    if not isinstance(body, dict):
        raise RefusalError(422, "a JSON object is needed")
    return body


def reset_connection(request: web.Request) -> None:
    """Reset the connection without a reply."""
    if request.transport is not None:
        request.transport.abort()


def close_connection(request: web.Request) -> None:
    """Close the connection after what has been written."""
    if request.transport is not None:
        request.transport.close()


async def _answer(
    backend: Backend, request: web.Request, call: Call, handler: Handler, via: str | None
) -> web.StreamResponse:
    session = await _session_of(backend, request, call)
    project = backend.projects.of(session) if session else None
    picture, spoken = (project.picture, project.spoken) if project else (None, False)
    fault = backend.faults.take(
        CallContext(call, session, picture.name if picture else None, spoken=spoken, via=via)
    )
    if fault is None:
        return await handler(request)
    request[_FAULT] = fault
    match fault.action:
        case "slow":
            await asyncio.sleep(fault.seconds or 0.0)
        case "refuse":
            raise _refusal(fault)
        case "reset" if not fault.done:
            reset_connection(request)
            return web.Response(status=503)
    response = await handler(request)
    if fault.action == "reset":
        reset_connection(request)
    return response


def _refusal(fault: Fault) -> RefusalError:
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    return RefusalError(fault.code, style=fault.style, headers=headers)


async def _session_of(backend: Backend, request: web.Request, call: Call) -> str | None:
    """Return the id of the session that a call names, if it names one."""
    if call in {Call.UPLOAD, Call.STATE}:
        return request.match_info["session"]
    if call in {Call.MESSAGE, Call.CLAIM, Call.EXPORT}:
        body = await body_of(request)
        named = body.get("sessionId") if call is Call.EXPORT else body.get("session_id")
        return named if isinstance(named, str) else None
    if call in {Call.POLL, Call.DOWNLOAD}:
        named = request.match_info["render"]
        render = backend.renders.find(named) or backend.renders.find_by_link(named)
        return render.entry.session_id if render else None
    return None


def _is_connected(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()
