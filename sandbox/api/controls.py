"""Handlers of the controls for testers: the ledger, faults, accounts, and the page."""

import html

from aiohttp import web
from pydantic import ValidationError

from sandbox.api.middleware import BACKEND, body_of
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
<p>A local stand-in: it replies to the calls of the video API, charges pretend credits and renders
real MP4 files of the uploaded pictures. No data leaves this machine. Sessions and balances are lost
when it stops.</p>
<table>{totals}</table>
<h2>Accounts</h2>
<table><tr><th>name<th>available<th>frozen<th>total<th>spent</tr>{accounts}</table>
<p>The whole ledger as JSON: <a href="/sandbox/ledger">/sandbox/ledger</a>
(<code>?requests=0</code> leaves out the list of calls).</p>
<p>Faults: GET <a href="/sandbox/faults">/sandbox/faults</a> lists them, POST of a list adds some,
DELETE removes all.</p>
<p>Accounts: POST to <code>/sandbox/accounts/&lt;name&gt;/credits</code>
<code>{{"add": 100}}</code> adds credits, <code>…/expire</code> ends all tokens,
<code>…/revive</code> makes registered tokens valid again, <code>…/tokens</code>
<code>{{"token": "…"}}</code> adds a token, <code>…/scopes</code>
<code>{{"render": true}}</code> allows export.</p>
</html>
"""


async def get_health(_request: web.Request) -> web.Response:
    """Reply that the process is up."""
    return bare({"status": "ok"})


async def get_ledger(request: web.Request) -> web.Response:
    """Send the ledger; `?requests=N` lists only the last N calls."""
    limit = request.query.get("requests")
    if limit is not None and not limit.isdecimal():
        raise RefusalError(422, "requests must be a number")
    return bare(request.app[BACKEND].ledger(None if limit is None else int(limit)))


async def list_faults(request: web.Request) -> web.Response:
    """List the active faults."""
    return web.json_response(request.app[BACKEND].faults.as_json())


async def add_faults(request: web.Request) -> web.Response:
    """Activate faults: a list of them, or one."""
    text = await request.text()
    try:
        faults = FAULTS.validate_json(text if text.lstrip().startswith("[") else f"[{text}]")
    except ValidationError as error:
        raise RefusalError(422, str(error)) from None
    request.app[BACKEND].faults.add(faults)
    return await list_faults(request)


async def clear_faults(request: web.Request) -> web.Response:
    """Drop all faults."""
    request.app[BACKEND].faults.clear()
    return await list_faults(request)


async def top_up(request: web.Request) -> web.Response:
    """Add credits to an account; a negative number removes some."""
    account = _account(request)
    added = (await body_of(request)).get("add")
    if not isinstance(added, int):
        raise RefusalError(422, "add must be a whole number")
    account.total += added
    return bare({"name": account.name, "available": account.available})


async def expire(request: web.Request) -> web.Response:
    """Expire an account's tokens."""
    name = _account(request).name
    return bare({"name": name, "expired": request.app[BACKEND].accounts.expire(name)})


async def revive(request: web.Request) -> web.Response:
    """Make an account's registered tokens valid again."""
    name = _account(request).name
    return bare({"name": name, "revived": request.app[BACKEND].accounts.revive(name)})


async def add_token(request: web.Request) -> web.Response:
    """Add a registered token to an account."""
    name, token = _account(request).name, (await body_of(request)).get("token")
    if not isinstance(token, str) or not token:
        raise RefusalError(422, "token must be a text")
    request.app[BACKEND].accounts.add_token(name, token)
    return bare({"name": name})


async def set_scopes(request: web.Request) -> web.Response:
    """Allow or forbid export to an account: `{"render": true}`."""
    account = _account(request)
    account.may_render = bool((await body_of(request)).get("render"))
    if account.may_render:
        account.unattributed = False
    return bare({"name": account.name, "render": account.may_render})


async def show_page(request: web.Request) -> web.Response:
    """Send a page that explains the stand-in and shows the totals of the ledger."""
    ledger = request.app[BACKEND].ledger(0)
    totals = {
        "sessions": len(ledger["sessions"]),
        "uploads": len(ledger["uploads"]),
        "messages": len(ledger["messages"]),
        "messages charged": sum(entry["charged"] > 0 for entry in ledger["messages"]),
        "messages running": ledger["running"],
        "renders": len(ledger["renders"]),
        "renders completed": sum(entry["status"] == "completed" for entry in ledger["renders"]),
        "downloads": sum(entry["downloads"] for entry in ledger["renders"]),
        "tokens issued": ledger["tokens_issued"],
    }
    page = _PAGE.format(
        totals="".join(f"<tr><td>{name}<td>{count}</tr>" for name, count in totals.items()),
        accounts="".join(_row(account) for account in ledger["accounts"]),
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
