"""Lenient parsing of responses, and errors that name what cannot be read."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.api_responses import envelope, recorded, state_envelope
from worker.nemo.errors import BadAnswer, Call
from worker.nemo.response_parsing import (
    read_balance,
    read_claim,
    read_render,
    read_session,
    read_state,
    read_token,
)
from worker.nemo.responses import Balance, RenderState, RenderStatus


def test_token() -> None:
    grant = read_token(recorded("token.json"))
    assert grant.token.get_secret_value() == "nmv_usr_example"
    assert grant.expires_in == 604_800
    assert "nmv_usr_example" not in repr(grant)


@pytest.mark.parametrize("odd", ["100 credits", None, [], True, "inf"])
def test_token_with_an_unreadable_lifetime_is_a_token(odd: Any) -> None:
    assert read_token(envelope(token="nmv_usr_x", expires_in=odd)).expires_in is None


def test_session() -> None:
    session = read_session(recorded("session.json"))
    assert (session.task_id, session.session_id, session.bind_id) == ("tsk_4f1c", "ses_9a77", None)


def test_session_ids_may_be_numbers_and_a_bind_id_is_read() -> None:
    session = read_session(envelope(task_id=7, session_id=8, bind_id=9))
    assert (session.task_id, session.session_id, session.bind_id) == ("7", "8", "9")


def test_claim() -> None:
    assert read_claim(recorded("claim.json")).get_secret_value() == "clm_51be"


def test_state() -> None:
    before = read_state(recorded("state_before.json"))
    after = read_state(recorded("state_after.json"))
    assert (before.draft.is_ready, after.draft.is_ready) == (False, True)
    assert before.fingerprint != after.fingerprint
    assert after.draft.raw == recorded("state_after.json")["data"]["state"]["draft"]


@pytest.mark.parametrize("field", ["draft", "generated_media", "video_infos"])
def test_fingerprint_depends_on_each_field_of_an_edit(field: str) -> None:
    changed = read_state(state_envelope(**{field: {"t": 1}})).fingerprint
    assert changed != read_state(state_envelope()).fingerprint


def test_fingerprint_is_the_same_for_the_same_state() -> None:
    """The order of keys, other fields, and the form of an empty value make no difference."""
    one = state_envelope(draft={"a": 1, "b": 2}, canvas_config={"w": 1}, generated_media=[])
    other = state_envelope(draft={"b": 2, "a": 1}, canvas_config={"w": 2}, video_infos=None)
    assert read_state(one).fingerprint == read_state(other).fingerprint
    assert read_state(envelope(state=None)).fingerprint == read_state(state_envelope()).fingerprint


@pytest.mark.parametrize(
    "found",
    [
        state_envelope(bind_id="b"),
        envelope(state={}, bind_id="b"),
        envelope(state=None, bind_id=" b "),
    ],
)
def test_bind_id_in_either_place_of_a_state(found: dict[str, Any]) -> None:
    assert read_state(found).bind_id == "b"


@pytest.mark.parametrize(
    ("data", "balance"),
    [
        ({"available": 400, "frozen": 100, "total": 500}, Balance(400, 100, 500)),
        ({"available": "400.5", "frozen": "99.5", "total": "500"}, Balance(400.5, 99.5, 500)),
        ({"available": 400}, Balance(400, 0, 400)),
        ({"available": 400, "frozen": 50, "total": None}, Balance(400, 50, 450)),
    ],
)
def test_balance(data: dict[str, Any], balance: Balance) -> None:
    assert read_balance(envelope(**data)) == balance


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (recorded("render_pending.json"), RenderStatus(RenderState.PENDING, None, None)),
        (
            recorded("render_completed.json"),
            RenderStatus(
                RenderState.COMPLETED,
                "https://cdn.example/render_1758612345678_9a77.mp4",
                None,
            ),
        ),
        ({"status": "PROCESSING"}, RenderStatus(RenderState.PROCESSING, None, None)),
        (
            {"code": 0, "message": "ok", "data": {"status": "failed", "message": "no codec"}},
            RenderStatus(RenderState.FAILED, None, "no codec"),
        ),
        (
            {"status": "success", "data": {"status": "completed", "output": {"url": "u"}}},
            RenderStatus(RenderState.COMPLETED, "u", None),
        ),
        ({"status": "completed", "output": "u"}, RenderStatus(RenderState.COMPLETED, "u", None)),
        ({"status": "completed", "output": 7}, RenderStatus(RenderState.COMPLETED, None, None)),
        (
            {"status": "failed", "error": "lambda nmv_usr_x died"},
            RenderStatus(RenderState.FAILED, None, "lambda [token] died"),
        ),
    ],
)
def test_render_status_in_either_place(found: dict[str, Any], status: RenderStatus) -> None:
    assert read_render(Call.POLL, found) == status


@pytest.mark.parametrize("found", [{}, {"status": "queued"}, {"data": {"status": None}}])
def test_unknown_render_status_is_a_bad_answer(found: dict[str, Any]) -> None:
    with pytest.raises(BadAnswer, match="poll: status"):
        read_render(Call.POLL, found)


@pytest.mark.parametrize(
    ("reader", "data", "named"),
    [
        (read_token, {}, "token: data.token"),
        (read_token, {"token": ""}, "token: data.token"),
        (read_token, {"token": []}, "token: data.token"),
        (read_session, {"task_id": "t"}, "session: data.session_id"),
        (read_session, {"task_id": "t", "session_id": ".."}, "session: data.session_id"),
        (read_session, {"task_id": "t", "session_id": " "}, "session: data.session_id"),
        (read_claim, {}, "claim: data.claim_token"),
        (read_state, {}, "state: data.state"),
        (read_state, {"state": "odd"}, "state: data.state"),
        (read_balance, {"available": None}, "credits: data.available"),
        (read_balance, {"available": "NaN"}, "credits: data.available"),
    ],
)
def test_bad_answer_names_call_and_field(
    reader: Callable[[Any], object], data: Any, named: str
) -> None:
    with pytest.raises(BadAnswer) as caught:
        reader(envelope(**data))
    assert str(caught.value).startswith(named)


@pytest.mark.parametrize("found", [{}, {"data": None}, {"data": []}])
@pytest.mark.parametrize("reader", [read_token, read_session, read_claim, read_state, read_balance])
def test_response_without_data_is_a_bad_answer(
    reader: Callable[[Any], object], found: dict[str, Any]
) -> None:
    with pytest.raises(BadAnswer, match="no data"):
        reader(found)


def test_bad_answer_does_not_quote_the_unreadable_value() -> None:
    with pytest.raises(BadAnswer) as caught:
        read_balance(envelope(available="a-secret-of-the-account"))
    assert "a-secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
