"""Tokens, balances and scopes."""

from dataclasses import replace
from uuid import uuid4

import pytest

from sandbox.option_types import ErrorStyle
from tests.unit.sandbox.api import Api, fetch
from tests.unit.sandbox.conftest import QUICK, Start


def with_token(api: Api, client_id: str) -> Api:
    token = api.anonymous_token(client_id).json()["data"]["token"]
    api.http.headers["Authorization"] = f"Bearer {token}"
    return api


def test_token_needs_a_client_id(api: Api) -> None:
    reply = api.anonymous_token(None)
    assert (reply.status_code, reply.json()["code"]) == (400, 400)


def test_token_reply_has_the_recorded_shape(api: Api) -> None:
    data = api.anonymous_token(str(uuid4())).json()["data"]
    assert data["token"].startswith("nmv_usr_")
    assert (data["credits"], data["expires_in"]) == (100, 604800)


def test_a_client_gets_one_token(api: Api) -> None:
    client = str(uuid4())
    assert api.anonymous_token(client).json()["code"] == 0
    assert api.anonymous_token(client).status_code == 429


def test_an_address_gets_ten_tokens(start: Start) -> None:
    api = start(replace(QUICK, tokens_per_address=10))
    codes = [api.anonymous_token(str(uuid4())).json()["code"] for _ in range(11)]
    assert codes == [0] * 10 + [429]


def test_expired_token_is_replaced_for_the_same_client(api: Api) -> None:
    client = str(uuid4())
    with_token(api, client)
    session = api.session()
    assert api.http.post("/sandbox/accounts/anonymous-1/expire").json()["expired"] == 1
    assert api.open_session().json()["code"] == 1001
    with_token(api, client)
    assert api.state(session)["draft"] == {}, "the account and its sessions are kept"


def test_forget_account_hides_the_sessions_of_the_old_token(start: Start) -> None:
    api = start(replace(QUICK, keep_account=False))
    client = str(uuid4())
    with_token(api, client)
    session = api.session()
    api.http.post("/sandbox/accounts/anonymous-1/expire")
    with_token(api, client)
    assert api.message(session).status_code == 404
    names = [account["name"] for account in api.ledger()["accounts"]]
    assert names == ["account-1", "anonymous-1", "anonymous-2"]


def test_registered_token_can_expire_and_be_revived(api: Api) -> None:
    api.http.post("/sandbox/accounts/account-1/expire")
    assert api.open_session().json()["code"] == 1001
    api.http.post("/sandbox/accounts/account-1/revive")
    assert api.open_session().json()["code"] == 0


def test_export_works_after_the_plan_is_upgraded(api: Api) -> None:
    with_token(api, str(uuid4()))
    session = api.session_with_picture()
    api.message(session)
    assert api.export(session, "render_1").status_code == 402
    api.http.post("/sandbox/accounts/anonymous-1/scopes", json={"render": True})
    assert api.export(session, "render_1").json()["status"] == "pending"


def test_unknown_account(api: Api) -> None:
    assert api.http.post("/sandbox/accounts/nobody/expire").status_code == 404


def test_token_expires(start: Start) -> None:
    api = start(replace(QUICK, token_seconds=0.05))
    with_token(api, str(uuid4()))
    api.wait_until(lambda: api.open_session().json()["code"], lambda code: code == 1001)


@pytest.mark.parametrize(
    ("style", "status"), [(ErrorStyle.ENVELOPE, 200), (ErrorStyle.STATUS, 401)]
)
def test_invalid_token(start: Start, style: ErrorStyle, status: int) -> None:
    api = start(replace(QUICK, error_style=style))
    api.http.headers["Authorization"] = "Bearer nmv_usr_wrong"
    reply = api.http.get("/api/credits/balance/simple")
    assert (reply.status_code, reply.json()["code"]) == (status, 1001)


def test_session_of_another_account_is_not_found(api: Api) -> None:
    session = api.session()
    with_token(api, str(uuid4()))
    reply = api.http.get(f"/api/state/nemo_agent/me/{session}/latest")
    assert reply.json()["code"] == 1002


def test_message_is_refused_without_enough_credits(api: Api) -> None:
    session = api.session_with_picture()
    api.http.post("/sandbox/accounts/account-1/credits", json={"add": -950})
    assert api.message(session).json()["code"] == 2001
    assert api.credits() == {"available": 50, "frozen": 0, "total": 50}
    (entry,) = api.ledger()["messages"]
    assert (entry["outcome"], entry["charged"]) == ("refused", 0)


def test_anonymous_token_may_not_export(api: Api) -> None:
    with_token(api, str(uuid4()))
    session = api.session_with_picture()
    api.message(session)
    assert api.export(session, "render_1").status_code == 402


def test_anonymous_token_may_export_when_allowed(start: Start) -> None:
    api = with_token(start(replace(QUICK, anonymous_may_render=True)), str(uuid4()))
    session = api.session_with_picture()
    api.message(session)
    assert api.export(session, "render_1").json()["status"] == "pending"


@pytest.mark.parametrize("missing", ["X-Skill-Source", "X-Skill-Version", "X-Skill-Platform"])
def test_export_is_refused_after_one_call_without_attribution(api: Api, missing: str) -> None:
    session = api.session_with_picture()
    kept = {name: value for name, value in api.http.headers.items() if name != missing.lower()}
    bare = fetch(f"{api.url}/api/credits/balance/simple", **kept)
    assert bare.json()["code"] == 0, "the call itself succeeds"
    api.message(session)
    assert api.export(session, "render_1").json()["code"] == 402
    requests = api.ledger()["requests"]
    assert [entry["call"] for entry in requests if not entry["headers_ok"]] == ["credits"]


def test_ledger_and_page_contain_no_token(api: Api) -> None:
    client = str(uuid4())
    with_token(api, client)
    api.session_with_picture()
    pages = api.http.get("/sandbox/ledger").text + api.http.get("/").text
    assert "nmv_usr_" not in pages
    assert client not in pages
    assert api.ledger()["tokens_issued"] == 1
