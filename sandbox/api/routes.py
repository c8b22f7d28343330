"""The application: the API's calls, and the controls that only the stand-in has."""

from aiohttp import web

from sandbox.api import controls
from sandbox.api.middleware import BACKEND, api_call, refusal_middleware
from sandbox.api.renders import download_by_link, download_by_proxy, export, poll
from sandbox.api.sessions import (
    claim,
    get_credits,
    get_state,
    issue_token,
    open_session,
    run_message,
)
from sandbox.api.uploads import upload
from sandbox.backend import Backend
from sandbox.faults import Call

_LARGEST_BODY = 16 * 1024 * 1024
_TASKS = "/api/tasks/me/with-session/nemo_agent"
_RENDERS = "/api/render/proxy"


def application(backend: Backend) -> web.Application:
    """Build the application of a backend."""
    found = web.Application(middlewares=[refusal_middleware], client_max_size=_LARGEST_BODY)
    found[BACKEND] = backend
    by_link = api_call(Call.DOWNLOAD, download_by_link, via="link")
    by_proxy = api_call(Call.DOWNLOAD, download_by_proxy, via="proxy")
    found.add_routes(
        [
            web.post("/api/auth/anonymous-token", api_call(Call.TOKEN, issue_token)),
            web.post(_TASKS, api_call(Call.SESSION, open_session)),
            web.post("/api/auth/claim-token", api_call(Call.CLAIM, claim)),
            web.post("/api/upload-video/nemo_agent/me/{session}", api_call(Call.UPLOAD, upload)),
            web.post("/run_sse", api_call(Call.MESSAGE, run_message)),
            web.get("/api/state/nemo_agent/me/{session}/latest", api_call(Call.STATE, get_state)),
            web.get("/api/credits/balance/simple", api_call(Call.CREDITS, get_credits)),
            web.post(f"{_RENDERS}/lambda", api_call(Call.EXPORT, export)),
            # Before the poll, whose pattern matches this path as well.
            web.get(f"{_RENDERS}/{{render}}/download", by_proxy, allow_head=False),
            web.get(f"{_RENDERS}/lambda/{{render}}", api_call(Call.POLL, poll)),
            web.get("/renders/{render}", by_link, allow_head=False),
            web.get("/", controls.show_page),
            web.get("/healthz", controls.get_health),
            web.get("/sandbox/ledger", controls.get_ledger),
            web.get("/sandbox/faults", controls.list_faults),
            web.post("/sandbox/faults", controls.add_faults),
            web.delete("/sandbox/faults", controls.clear_faults),
            web.post("/sandbox/accounts/{name}/credits", controls.top_up),
            web.post("/sandbox/accounts/{name}/expire", controls.expire),
            web.post("/sandbox/accounts/{name}/revive", controls.revive),
            web.post("/sandbox/accounts/{name}/tokens", controls.add_token),
            web.post("/sandbox/accounts/{name}/scopes", controls.set_scopes),
        ]
    )
    return found
