"""What testers ask of the stand-in itself: its ledger, its faults, its accounts."""

import html

from aiohttp import web
from pydantic import ValidationError

from sandbox.api.middleware import BACKEND, Handler, body_of
from sandbox.faults import FAULTS
from sandbox.responses import RefusalError, bare
from sandbox.state.accounts import Account

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Sandbox of the video API</title>
<style>
 body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; }}
 table {{ border-collapse: collapse; }} td, th {{ padding: .2rem 1rem .2rem 0; text-align: left; }}
 code {{ background: #f2f2f2; padding: 0 .3em; }}
</style>
<h1>Sandbox of the video API</h1>
<p>A local stand-in: it speaks the video API's wire, charges pretend credits and renders real
MP4 files from the pictures that it is sent. Nothing leaves this machine, and nothing is kept when
it stops.</p>
<table>{totals}</table>
<h2>Accounts</h2>
<table><tr><th>name<th>available<th>frozen<th>total<th>spent</tr>{accounts}</table>
<p>All of it as JSON: <a href="/sandbox/ledger">/sandbox/ledger</a> (<code>?requests=0</code> leaves
out the list of calls). Faults: <a href="/sandbox/faults">/sandbox/faults</a> (GET, POST a list,
DELETE). Accounts: <code>POST /sandbox/accounts/&lt;name&gt;/credits {{"add": 100}}</code>,
<code>…/expire</code>, <code>…/revive</code>, <code>…/tokens {{"token": "…"}}</code>,
<code>…/scopes {{"render": true}}</code>.</p>
</html>
"""


def control_routes() -> list[web.RouteDef]:
    """The routes that the real API does not have."""
    return [
        web.get("/", show_page),
        web.get("/healthz", get_health),
        web.get("/sandbox/ledger", get_ledger),
        web.get("/sandbox/faults", list_faults),
        web.post("/sandbox/faults", add_faults),
        web.delete("/sandbox/faults", clear_faults),
        web.post("/sandbox/accounts/{name}/credits", top_up),
        web.post("/sandbox/accounts/{name}/expire", expire),
        web.post("/sandbox/accounts/{name}/revive", revive),
        web.post("/sandbox/accounts/{name}/tokens", add_token),
        web.post("/sandbox/accounts/{name}/scopes", set_scopes),
    ]


@web.middleware
async def refusal_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what a handler refuses; calls of the API have done so before."""
    try:
        return await handler(request)
    except RefusalError as refusal:
        return refusal.reply(request.app[BACKEND].options.error_style)


async def get_health(_request: web.Request) -> web.Response:
    """That it is there."""
    return bare({"status": "ok"})


async def get_ledger(request: web.Request) -> web.Response:
    """Everything that was asked; `?requests=N` lists only the last N calls."""
    wanted = request.query.get("requests")
    if wanted is not None and not wanted.isdecimal():
        raise RefusalError(422, "requests is a number")
    return bare(request.app[BACKEND].ledger(None if wanted is None else int(wanted)))


async def list_faults(request: web.Request) -> web.Response:
    """The faults in force."""
    return web.json_response(request.app[BACKEND].faults.as_json())


async def add_faults(request: web.Request) -> web.Response:
    """Put faults in force: a list of them, or one."""
    text = await request.text()
    try:
        listed = FAULTS.validate_json(text if text.lstrip().startswith("[") else f"[{text}]")
    except ValidationError as error:
        raise RefusalError(422, str(error)) from None
    request.app[BACKEND].faults.add(listed)
    return await list_faults(request)


async def clear_faults(request: web.Request) -> web.Response:
    """Behave again."""
    request.app[BACKEND].faults.clear()
    return await list_faults(request)


async def top_up(request: web.Request) -> web.Response:
    """Add credits to an account; a negative number takes some away."""
    account = _account(request)
    added = (await body_of(request)).get("add")
    if not isinstance(added, int):
        raise RefusalError(422, "add is a whole number")
    account.total += added
    return bare({"name": account.name, "available": account.available})


async def expire(request: web.Request) -> web.Response:
    """End an account's tokens."""
    name = _account(request).name
    return bare({"name": name, "expired": request.app[BACKEND].accounts.expire(name)})


async def revive(request: web.Request) -> web.Response:
    """Make an account's registered tokens valid again."""
    name = _account(request).name
    return bare({"name": name, "revived": request.app[BACKEND].accounts.revive(name)})


async def add_token(request: web.Request) -> web.Response:
    """Let one more token open an account: a registration, or a token that was replaced."""
    name, token = _account(request).name, (await body_of(request)).get("token")
    if not isinstance(token, str) or not token:
        raise RefusalError(422, "token is a text")
    request.app[BACKEND].accounts.add_token(name, token)
    return bare({"name": name})


async def set_scopes(request: web.Request) -> web.Response:
    """Upgrade an account's plan so that it may export, or take that away: `{"render": true}`."""
    account = _account(request)
    account.may_render = bool((await body_of(request)).get("render"))
    if account.may_render:
        account.unattributed = False
    return bare({"name": account.name, "render": account.may_render})


async def show_page(request: web.Request) -> web.Response:
    """What this is, and the ledger's totals."""
    told = request.app[BACKEND].ledger(0)
    totals = {
        "sessions": len(told["sessions"]),
        "uploads": len(told["uploads"]),
        "messages": len(told["messages"]),
        "messages charged": sum(entry["charged"] > 0 for entry in told["messages"]),
        "messages running": told["running"],
        "renders": len(told["renders"]),
        "renders completed": sum(entry["status"] == "completed" for entry in told["renders"]),
        "downloads": sum(entry["downloads"] for entry in told["renders"]),
        "tokens issued": told["tokens_issued"],
    }
    page = _PAGE.format(
        totals="".join(f"<tr><td>{name}<td>{count}</tr>" for name, count in totals.items()),
        accounts="".join(_row(account) for account in told["accounts"]),
    )
    return web.Response(text=page, content_type="text/html")


def _row(account: dict[str, object]) -> str:
    columns = ("name", "available", "frozen", "total", "spent")
    cells = "".join(f"<td>{html.escape(str(account[column]))}" for column in columns)
    return f"<tr>{cells}</tr>"


def _account(request: web.Request) -> Account:
    account = request.app[BACKEND].accounts.by_name.get(request.match_info["name"])
    if account is None:
        raise RefusalError(404, "no such account")
    return account
