"""Faults that testers inject, for each call."""

from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest

from sandbox.option_types import DurationRange, ErrorStyle
from tests.unit.sandbox.api import Api, picture
from tests.unit.sandbox.conftest import QUICK, Start

CALLS: dict[str, Callable[[Api, str], httpx.Response]] = {
    "token": lambda api, _: api.anonymous_token("a"),
    "session": lambda api, _: api.open_session(),
    "claim": lambda api, session: api.http.post(
        "/api/auth/claim-token", json={"session_id": session, "task_id": "tsk_x"}
    ),
    "upload": lambda api, session: api.upload(session, picture()),
    "message": lambda api, session: api.message(session),
    "state": lambda api, session: api.http.get(f"/api/state/nemo_agent/me/{session}/latest"),
    "credits": lambda api, _: api.http.get("/api/credits/balance/simple"),
    "export": lambda api, session: api.export(session, "render_1", {}),
    "poll": lambda api, _: api.poll("render_1"),
    "download": lambda api, _: api.http.get("/api/render/proxy/render_1/download"),
}


@pytest.mark.parametrize("call", CALLS)
def test_every_call_can_be_refused(api: Api, call: str) -> None:
    session = api.session()
    api.faults({"call": call, "action": "refuse", "code": 1001})
    reply = CALLS[call](api, session)
    assert (reply.status_code, reply.json()["code"]) == (200, 1001)
    assert api.ledger()["requests"][-1]["code"] == 1001


@pytest.mark.parametrize("code", [1001, 1002, 1010, 1011, 2001, 4001, 4002])
def test_vendor_codes_are_sent_as_a_status_or_in_an_envelope(start: Start, code: int) -> None:
    api = start(replace(QUICK, error_style=ErrorStyle.STATUS))
    fault = {"call": "credits", "action": "refuse", "code": code}
    api.faults(fault, {**fault, "style": "envelope"})
    by_status, by_envelope = (CALLS["credits"](api, "") for _ in range(2))
    assert 400 <= by_status.status_code < 500
    assert by_envelope.status_code == 200
    assert by_status.json()["code"] == by_envelope.json()["code"] == code


@pytest.mark.parametrize("code", [400, 402, 429])
def test_http_codes_are_sent_as_a_status(api: Api, code: int) -> None:
    fault = {"call": "credits", "action": "refuse", "code": code}
    api.faults(fault, {**fault, "style": "envelope"})
    statuses = [CALLS["credits"](api, "").status_code for _ in range(2)]
    assert statuses == [code, 200]


@pytest.mark.parametrize("code", [500, 502, 503])
def test_server_errors_have_no_json(api: Api, code: int) -> None:
    api.faults({"call": "credits", "action": "refuse", "code": code})
    reply = CALLS["credits"](api, "")
    assert (reply.status_code, reply.headers["content-type"]) == (code, "text/plain; charset=utf-8")


def test_retry_after(api: Api) -> None:
    api.faults({"call": "session", "action": "refuse", "code": 429, "retry_after": 7})
    assert api.open_session().headers["retry-after"] == "7"


def test_fault_ends_after_its_times(api: Api) -> None:
    api.faults({"call": "credits", "action": "refuse", "code": 1001, "times": 2})
    assert [CALLS["credits"](api, "").json()["code"] for _ in range(3)] == [1001, 1001, 0]
    assert api.http.get("/sandbox/faults").json() == []


def test_fault_by_ratio(api: Api) -> None:
    api.faults({"call": "credits", "action": "refuse", "code": 1001, "ratio": 0.5})
    codes = [CALLS["credits"](api, "").json()["code"] for _ in range(60)]
    assert 15 <= codes.count(1001) <= 45


def test_fault_for_one_session(api: Api) -> None:
    first, second = api.session(), api.session()
    api.faults({"call": "state", "action": "refuse", "code": 1002, "session": second})
    assert [CALLS["state"](api, session).json()["code"] for session in (first, second)] == [0, 1002]


def test_faults_are_cleared(api: Api) -> None:
    api.faults({"call": "credits", "action": "refuse", "times": 9})
    assert api.http.delete("/sandbox/faults").json() == []
    assert CALLS["credits"](api, "").json()["code"] == 0


def test_unknown_fault_is_refused(api: Api) -> None:
    reply = api.faults({"call": "credits", "action": "question"})
    assert reply.status_code == 422
    assert "credits supports: refuse, reset, slow" in reply.json()["message"]


def test_slow_answer(api: Api) -> None:
    api.faults({"call": "credits", "action": "slow", "seconds": 30})
    with pytest.raises(httpx.ReadTimeout):
        api.http.get("/api/credits/balance/simple", timeout=0.2)
    api.faults({"call": "credits", "action": "slow", "seconds": 0.01})
    assert CALLS["credits"](api, "").json()["code"] == 0


@pytest.mark.parametrize("done", [False, True])
def test_reset_connection(api: Api, done: bool) -> None:
    api.faults({"call": "session", "action": "reset", "done": done})
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        api.open_session()
    assert len(api.ledger()["sessions"]) == int(done)
    assert api.ledger()["requests"][-1]["status"] == 0


def test_message_connection_reset_before_the_work(api: Api) -> None:
    session = api.session_with_picture()
    api.faults({"call": "message", "action": "reset"})
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        api.message(session)
    assert api.ledger()["messages"] == []


def test_message_connection_reset_while_the_work_continues(start: Start) -> None:
    api = start(replace(QUICK, stream_seconds=DurationRange(0.2, 0.2)))
    session = api.session_with_picture()
    api.faults({"call": "message", "action": "reset", "done": True})
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        api.message(session)
    entry = api.wait_until(lambda: api.ledger()["messages"][0], lambda entry: entry["ended_at"])
    assert (entry["outcome"], entry["charged"]) == ("broken", 100)
    assert len(api.state(session)["draft"]["t"]) == 2


def test_export_whose_answer_is_lost_can_be_repeated(api: Api) -> None:
    session = api.session_with_picture()
    api.message(session)
    draft = api.state(session)["draft"]
    api.faults({"call": "export", "action": "reset", "done": True})
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        api.export(session, "render_1", draft)
    assert api.export(session, "render_1", draft).json()["id"] == "render_1"
    assert len(api.ledger()["renders"]) == 1
