"""Messages: their streams, charges and drafts."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import httpx
import pytest

from sandbox.agent.events import HEARTBEATS
from sandbox.option_types import DurationRange
from tests.unit.sandbox.api import Api, events, texts
from tests.unit.sandbox.conftest import QUICK, Start

SLOW = replace(QUICK, stream_seconds=DurationRange(300.0, 300.0))


@contextmanager
def open_stream(api: Api, session: str) -> Iterator[httpx.Response]:
    """Open a stream and read its first bytes."""
    with api.http.stream("POST", "/run_sse", json=api.message_body(session)) as response:
        stream = response.iter_raw()
        next(stream)
        yield response


def test_plain_stream_has_each_text_once_and_makes_a_draft(api: Api) -> None:
    session = api.session_with_picture()
    reply = api.message(session)
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert texts(reply.text)[0] == "I will animate the picture with a slow move."
    state = api.state(session)
    assert [track["tt"] for track in state["draft"]["t"]] == [0, 1]
    assert state["draft"]["t"][0]["sg"][0]["d"] == 1000
    assert len(state["generated_media"]) == 1


def test_events_have_the_recorded_shapes(api: Api) -> None:
    found = events(api.message(api.session_with_picture()).text)
    assert any(event.get("partial") for event in found)
    assert any(part.get("thought") for part in found[0]["content"]["parts"])
    names = [
        part["functionCall"]["name"]
        for event in found
        for part in event.get("content", {}).get("parts", [])
        if "functionCall" in part
    ]
    assert names == ["generate_video", "edit_multitrack_draft"]
    assert any(event["actions"]["stateDelta"] for event in found)
    assert len({event["id"] for event in found}) == len(found)


def test_title_of_the_prompt_becomes_a_track(api: Api) -> None:
    session = api.session_with_picture()
    api.message(session, '2-second clip, title "Urban Dreams"')
    title = api.state(session)["draft"]["t"][-1]
    assert (title["tt"], title["sg"][0]["m"]["text"]) == (7, "Urban Dreams")


def test_all_forms_of_heartbeats_are_sent(start: Start) -> None:
    api = start(replace(QUICK, stream_seconds=DurationRange(1.5, 1.5)))
    stream = api.message(api.session_with_picture()).content
    assert all(heartbeat in stream for heartbeat in HEARTBEATS)


def test_silent_message_has_no_text_and_makes_a_draft(start: Start) -> None:
    api = start(replace(QUICK, silent_ratio=1.0))
    session = api.session_with_picture()
    stream = api.message(session).text
    assert texts(stream) == []
    assert events(stream), "tool calls are sent"
    assert len(api.state(session)["draft"]["t"]) == 2
    assert api.ledger()["messages"][0]["outcome"] == "silent"


def test_the_seed_decides_which_messages_are_silent(start: Start) -> None:
    quick = replace(
        QUICK, stream_seconds=DurationRange(0.0, 0.0), price=0, edit_price=0, silent_ratio=0.3
    )
    outcomes = []
    for seed in (7, 7, 8):
        api = start(replace(quick, seed=seed))
        session = api.session()
        for _ in range(60):
            api.message(session)
        outcomes.append([entry["outcome"] for entry in api.ledger()["messages"]])
    assert outcomes[0] == outcomes[1] != outcomes[2]
    assert 8 <= outcomes[0].count("silent") <= 30


def test_price_is_frozen_while_it_runs_and_charged_at_the_end(start: Start) -> None:
    api = start(SLOW)
    with open_stream(api, api.session_with_picture()):
        assert api.credits() == {"available": 900, "frozen": 100, "total": 1000}
    api.wait_until(lambda: api.credits()["frozen"], lambda frozen: frozen == 0)
    assert api.credits()["total"] == 900


def test_edit_costs_less(api: Api) -> None:
    session = api.session_with_picture()
    api.message(session)
    before = api.state(session)["draft"]
    api.message(session, "make it 2 seconds")
    assert [entry["charged"] for entry in api.ledger()["messages"]] == [100, 50]
    after = api.state(session)["draft"]
    assert (before["t"][0]["sg"][0]["d"], after["t"][0]["sg"][0]["d"]) == (1000, 2000)


def test_second_message_while_one_runs_is_refused(start: Start) -> None:
    api = start(SLOW)
    session = api.session_with_picture()
    with open_stream(api, session):
        assert api.message(session).status_code == 429
    messages = api.ledger()["messages"]
    assert [entry["overlapping"] for entry in messages] == [False, True]
    assert messages[1]["charged"] == 0


def test_disconnecting_cancels_the_run_and_charges_it(start: Start) -> None:
    """The disconnection is noticed immediately, not at the next write."""
    api = start(replace(SLOW, stream_seconds=DurationRange(1e5, 1e5), heartbeat_seconds=1e5))
    session = api.session_with_picture()
    with open_stream(api, session):
        pass
    entry = api.wait_until(
        lambda: api.ledger()["messages"][0], lambda entry: entry["outcome"] != "running"
    )
    assert (entry["outcome"], entry["charged"]) == ("cancelled", 100)
    assert api.state(session)["draft"] == {}


def test_raw_clip_appears_before_music(api: Api) -> None:
    """The fault stops the work between the two stages."""
    session = api.session_with_picture()
    api.faults({"call": "message", "action": "break", "at": 0.7, "then": "stay"})
    with pytest.raises(httpx.RemoteProtocolError):
        api.message(session)
    assert [track["tt"] for track in api.state(session)["draft"]["t"]] == [0]


def test_broken_stream_whose_work_finishes_later(api: Api) -> None:
    session = api.session_with_picture()
    api.faults({"call": "message", "action": "break", "at": 0.3, "seconds": 3})
    with pytest.raises(httpx.RemoteProtocolError):
        api.message(session)
    assert api.state(session)["draft"] == {}
    assert api.message(session).status_code == 429, "the work is still running"
    api.wait_until(
        lambda: api.state(session)["draft"].get("t", []), lambda tracks: len(tracks) == 2
    )
    entry = api.wait_until(lambda: api.ledger()["messages"][0], lambda entry: entry["ended_at"])
    assert (entry["outcome"], entry["charged"]) == ("broken", 100)


def test_broken_stream_whose_work_never_finishes(api: Api) -> None:
    session = api.session_with_picture()
    api.faults({"call": "message", "action": "break", "then": "stay"})
    with pytest.raises(httpx.RemoteProtocolError):
        api.message(session)
    assert api.state(session)["draft"] == {}
    assert api.credits() == {"available": 900, "frozen": 0, "total": 900}
    assert api.message(session).status_code == 200, "the session accepts messages again"


def test_break_that_looks_like_a_regular_end(api: Api) -> None:
    api.faults({"call": "message", "action": "break", "clean": True, "then": "stay"})
    found = events(api.message(api.session_with_picture()).text)
    assert found
    assert not any(event["actions"]["stateDelta"] for event in found)


def test_ratio_of_broken_streams(start: Start) -> None:
    api = start(replace(QUICK, break_ratio=1.0))
    with pytest.raises(httpx.RemoteProtocolError):
        api.message(api.session_with_picture())


def test_crash_event(api: Api) -> None:
    api.faults({"call": "message", "action": "error"})
    session = api.session_with_picture()
    found = events(api.message(session).text)
    assert found[-1]["error"].startswith("RuntimeError")
    assert found[-1]["error_details"]["error_type"] == "RuntimeError"
    assert api.state(session)["draft"] == {}


def test_crash_event_of_an_older_server_is_not_json(api: Api) -> None:
    api.faults({"call": "message", "action": "error", "raw": True})
    last = api.message(api.session_with_picture()).text.strip().rpartition("data: ")[2]
    assert "error" in last
    with pytest.raises(json.JSONDecodeError):
        json.loads(last)


def test_model_failure_event(api: Api) -> None:
    api.faults({"call": "message", "action": "quota"})
    found = events(api.message(api.session_with_picture()).text)
    assert (found[-1]["errorCode"], found[-1]["errorMessage"]) == (
        "RESOURCE_EXHAUSTED",
        "Out of quota",
    )


def test_question_changes_nothing(api: Api) -> None:
    api.faults({"call": "message", "action": "question"})
    session = api.session_with_picture()
    assert texts(api.message(session).text)[-1].endswith("?")
    assert api.state(session)["draft"] == {}
    entry = api.ledger()["messages"][0]
    assert (entry["outcome"], entry["charged"]) == ("question", 100)


def test_hang_sends_heartbeats_only(api: Api) -> None:
    api.faults({"call": "message", "action": "hang", "seconds": 1})
    stream = api.message(api.session_with_picture()).text
    before, _, _ = stream.partition('{"content"')
    assert before.count("heartbeat") >= 3
    assert texts(stream), "the work continues afterwards"


def test_mute_sends_nothing(start: Start) -> None:
    api = start(QUICK)
    api.faults({"call": "message", "action": "mute", "seconds": 300})
    body = api.message_body(api.session_with_picture())
    timeout = httpx.Timeout(60, read=3)
    with (
        api.http.stream("POST", "/run_sse", json=body, timeout=timeout) as response,
        pytest.raises(httpx.ReadTimeout),
    ):
        response.read()
    assert response.status_code == 200


def test_unknown_session_is_404_on_the_stream(api: Api) -> None:
    reply = api.message("ses_none")
    assert (reply.status_code, reply.json()) == (404, {"detail": "Session not found"})


def test_many_streams_at_the_same_time(start: Start) -> None:
    """Each of 300 concurrent streams gets heartbeats and is charged once."""
    api = start(replace(SLOW, heartbeat_seconds=0.5, price=1))
    sessions = [api.session() for _ in range(300)]
    ledger = asyncio.run(read_heartbeats(api, sessions))
    assert ledger["running"] == 300
    assert ledger["accounts"][0]["frozen"] == 300
    api.wait_until(lambda: api.ledger()["running"], lambda running: running == 0)
    charged = {entry["session_id"]: entry["charged"] for entry in api.ledger()["messages"]}
    assert charged == dict.fromkeys(sessions, 1)


async def read_heartbeats(api: Api, sessions: list[str]) -> dict[str, Any]:
    """Open a stream in each session, wait for a heartbeat on each, and return the ledger."""
    headers = dict(api.http.headers)
    async with (
        aiohttp.ClientSession(
            api.url, headers=headers, connector=aiohttp.TCPConnector(limit=0)
        ) as client,
        AsyncExitStack() as stack,
    ):

        async def read_heartbeat(session: str) -> None:
            stream = await stack.enter_async_context(
                client.post("/run_sse", json=api.message_body(session))
            )
            async for line in stream.content:
                if line == b"data: heartbeat\n":
                    return
            raise AssertionError("the stream ended")

        await asyncio.gather(*map(read_heartbeat, sessions))
        return await asyncio.to_thread(api.ledger)
