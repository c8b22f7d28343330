"""Any JSON that Python's parser accepts, as the responses of every call of the video API.

Each is read by the real client. It gives a result or a `NemoError`, and every text of either can be
stored; a draft survives its record and its export unchanged.
``python -m tests.soak.answers --count 100000 --seed 7`` prints a table of the outcomes.
"""

import dataclasses
import io
import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st
from pydantic import SecretStr

from tests.support.options import parse_count_and_seed
from worker.nemo.agent_text import remove_instructions
from worker.nemo.client import NemoClient
from worker.nemo.draft import Draft
from worker.nemo.envelope import MAX_DEPTH, RawResponse, read_envelope
from worker.nemo.errors import Call, NemoError
from worker.nemo.http.headers import Identity
from worker.nemo.question import asks_question
from worker.nemo.responses import SessionState
from worker.nemo.streaming.events import EventDecoder
from worker.nemo.streaming.sse import SseDecoder
from worker.nemo.streaming.transcript import Transcript

BATCH = 2000
"""Cases of one run of hypothesis, whose memory grows with them."""
STREAM = "stream"
Json = Any


@dataclasses.dataclass(frozen=True)
class Literal:
    """JSON that is written as it is."""

    text: str


@dataclasses.dataclass(frozen=True)
class Object:
    """A JSON object, which may have one name twice."""

    members: tuple[tuple[str, Json], ...]


SEGMENT = {"d": 1000, "m": {"name": "clip", "title": "t", "text": "x", "volume": 0.5}}
STATE = {
    "draft": {"t": [{"tt": 0, "sg": [SEGMENT]}, {"tt": 7, "sg": [SEGMENT]}]},
    "generated_media": [{"url": "u"}],
    "video_infos": {"a": 1},
    "bind_id": "b",
}
EVENT = {
    "content": {
        "parts": [{"text": "Done. Which one?", "thought": False}, {"functionCall": {"name": "f"}}]
    },
    "partial": True,
    "errorCode": None,
    "errorMessage": None,
    "error": None,
    "errorDetails": {"errorType": "t"},
    "code": 0,
}
RENDER = {"status": "completed", "output": {"url": "https://c.example/a.mp4"}, "message": "m"}
ANSWERS: Mapping[str, Json] = {
    Call.TOKEN: {"token": "nmv_usr_x", "expires_in": 100},
    Call.SESSION: {"task_id": "tsk", "session_id": "ses", "bind_id": "b"},
    Call.CLAIM: {"claim_token": "clm_x"},
    Call.UPLOAD: {"files": []},
    Call.MESSAGE: None,
    Call.STATE: {"state": STATE, "bind_id": "b"},
    Call.CREDITS: {"available": 1.5, "frozen": 0, "total": 2},
    Call.EXPORT: RENDER,
    Call.POLL: RENDER,
}
NAMES = sorted(
    {"code", "message", "msg", "detail", "data", "status", "output", *STATE, *EVENT, *SEGMENT, "m"}
)

# With "Cs": halves of surrogate pairs.
texts = st.text(st.characters(exclude_categories=()), max_size=12)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**63, max_value=10**300)
    | st.floats()
    | texts
    | st.sampled_from([1e308, -(10**4000), "\ud83d", "a\ude00\ud83d", "\x00\x1b[31m", 2001, "2001"])
    | st.sampled_from([Literal("1e999"), Literal("-0"), Literal("9" * 4300), Literal("9" * 5000)])
)
deep = st.tuples(
    st.sampled_from([MAX_DEPTH // 2, MAX_DEPTH - 8, MAX_DEPTH, 900, 990, 5000, 100_000]),
    st.sampled_from([("[", "]"), ('{"m":', "}")]),
).map(lambda drawn: Literal(drawn[1][0] * drawn[0] + "1" + drawn[1][1] * drawn[0]))
values = (
    scalars
    | deep
    | st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.lists(st.tuples(st.sampled_from(NAMES) | texts, inner), max_size=4).map(
                lambda members: Object(tuple(members))
            )
        ),
        max_leaves=5,
    )
)


changes = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from(NAMES) | st.none() | texts, values), max_size=2
)
"""The number of a value in a response; None to replace it, or a name to add to it; the JSON."""


@st.composite
def answers(draw: st.DrawFn) -> tuple[str, int, bytes]:
    """A call, and the status and the body of its response."""
    call = draw(st.sampled_from([*ANSWERS, Call.STATE, STREAM]))
    found: Json = EVENT if call == STREAM else {"code": 0, "message": "ok", "data": ANSWERS[call]}
    for number, name, value in draw(changes):
        found = altered(found, number % max(1, _size(found)), name, value)
    status = draw(st.sampled_from([200] * 9 + [201, 400, 401, 429, 500]))
    text = encoded(found, ascii_only=draw(st.booleans()))
    return call, status, text.encode("utf-8", "surrogatepass")


def altered(found: Json, number: int, name: str | None, value: Json) -> Json:
    """Replace the value with this number, in the order of the text, or add a member to it."""
    if number == 0:
        added = name is not None and isinstance(found, dict | Object)
        return Object((*_members(found), (str(name), value))) if added else value
    number -= 1
    members = []
    for key, inner in _members(found):
        size = _size(inner)
        members.append((key, altered(inner, number, name, value) if 0 <= number < size else inner))
        number -= size
    return [inner for _, inner in members] if isinstance(found, list) else Object(tuple(members))


def _members(found: Json) -> tuple[tuple[str, Json], ...]:
    match found:
        case Object(members):
            return members
        case dict():
            return tuple(found.items())
        case list():
            return tuple(("", inner) for inner in found)
        case _:
            return ()


def _size(found: Json) -> int:
    return 1 + sum(_size(inner) for _, inner in _members(found))


def encoded(found: Json, *, ascii_only: bool) -> str:
    """Write JSON, as `json.dumps` does, and the forms that it cannot write."""
    match found:
        case Literal(text):
            return text
        case list():
            return "[" + ",".join(encoded(item, ascii_only=ascii_only) for item in found) + "]"
        case Object() | dict():
            inner = (
                json.dumps(name, ensure_ascii=ascii_only)
                + ":"
                + encoded(item, ascii_only=ascii_only)
                for name, item in _members(found)
            )
            return "{" + ",".join(inner) + "}"
        case _:
            return json.dumps(found, ensure_ascii=ascii_only)


class Api:
    """The client of the video API, with one scripted response, and the last request."""

    def __init__(self) -> None:
        self.response = (200, b"")
        self.sent = b""
        self.client = NemoClient(
            httpx.Client(transport=httpx.MockTransport(self._respond)),
            api_url="https://api.example",
            web_url="https://web.example",
            identity=Identity(platform="unknown", version="1.0.0"),
            token=SecretStr("nmv_usr_x"),
            clock=lambda: 1_700_000_000.0,
        )

    def _respond(self, request: httpx.Request) -> httpx.Response:
        self.sent = request.read()
        status, body = self.response
        return httpx.Response(status, content=body)


API = Api()
CALLS: Mapping[str, Callable[[NemoClient], object]] = {
    Call.TOKEN: lambda client: client.anonymous_token("c"),
    Call.SESSION: lambda client: client.create_session(),
    Call.CLAIM: lambda client: client.claim_link("tsk", "ses"),
    Call.UPLOAD: lambda client: client.upload_file("ses", "a.png", "image/png", io.BytesIO(b"x")),
    Call.STATE: lambda client: client.state("ses"),
    Call.CREDITS: lambda client: client.credits(),
    Call.EXPORT: lambda client: client.submit_render("r", "ses", Draft({})),
    Call.POLL: lambda client: client.render_status("r"),
}


def check(call: str, status: int, body: bytes) -> str:
    """Read one response, check what it gives, and name it.

    Raises:
        AssertionError: A text cannot be stored, or a draft was changed.
        Exception: Reading it raised something else than a `NemoError`.
    """
    if call == STREAM:
        return _check_stream(body)
    API.response = (status, body)
    try:
        if call == Call.MESSAGE:
            read_envelope(Call.MESSAGE, RawResponse(status, {}, body), clock=lambda: 0.0)
            return "envelope"
        found = CALLS[call](API.client)
    except NemoError as error:
        _check_text(str(error))
        return type(error).__name__
    for text in _texts(found):
        _check_text(text)
    if isinstance(found, SessionState):
        _check_draft(found.draft, body)
    return "read"


def _texts(found: object) -> Iterator[str]:
    if isinstance(found, str):
        yield found
    elif dataclasses.is_dataclass(found):
        for field in dataclasses.fields(found):
            value = getattr(found, field.name)
            if isinstance(value, str):
                yield value


def _check_text(text: str) -> None:
    text.encode()


def _check_draft(draft: Draft, body: bytes) -> None:
    """Check that a draft is shown, and is the same after its record and in its export."""
    _check_text(draft.timeline())
    assert draft.seconds >= 0
    state = json.loads(body, strict=False)["data"]["state"] or {}
    received = state.get("draft") if isinstance(state.get("draft"), dict) else {}
    packed = draft.pack()
    _check_text(packed)
    API.response = (200, b'{"code":0}')
    API.client.submit_render("r", "ses", Draft.unpack(packed))
    # Compared as texts: NaN is not equal to itself.
    assert json.dumps(json.loads(API.sent)["draft"]) == json.dumps(received)


def _check_stream(body: bytes) -> str:
    """Read an event of a message's stream between two pieces of a text."""
    piece = b'data: {"content": {"parts": [{"text": "a\\ud83d"}]}, "partial": true}\n\n'
    decoder, events, transcript = SseDecoder(), EventDecoder(), Transcript()
    lines = b"data: " + body.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n\n"
    for frame in [*decoder.feed(piece + lines + piece), *decoder.close()]:
        for event in events.decode(frame):
            transcript.add(event)
    for event in events.finish():
        transcript.add(event)
    reply = transcript.reply
    asks_question(reply)
    for text in (
        reply,
        remove_instructions(reply).text,
        transcript.error and transcript.error.message,
    ):
        _check_text(text or "")
    return "error" if transcript.error else "text" if reply else "nothing"


def large_draft(characters: int) -> bytes:
    """Return the response to a state call with a title of this length, half a pair at its end."""
    title = json.dumps("x" * characters + "\ud83d")
    return b'{"code":0,"data":{"state":{"draft":{"t":[{"sg":[{"m":{"name":%s}}]}]}}}}' % (
        title.encode()
    )


def check_all(count: int, seed: int) -> Counter[str]:
    """Read this many responses, and count the outcomes by call.

    Raises:
        AssertionError: One of them broke a rule; the message holds its seed.
    """
    found: Counter[str] = Counter()
    chance = random.Random(seed)
    while (left := count - found.total()) > 0:
        batch_seed = chance.randrange(2**32)
        before = found.total()
        run_batch(min(left, BATCH), batch_seed, found)
        assert found.total() > before
    return found


def run_batch(count: int, seed: int, found: Counter[str]) -> None:
    """Let hypothesis make this many responses."""

    @hypothesis_seed(seed)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(answers())
    def attempt(answer: tuple[str, int, bytes]) -> None:
        found[f"{answer[0]} {check(*answer)}"] += 1

    attempt()


def main() -> None:
    """Read responses and print a table of their outcomes."""
    chosen = parse_count_and_seed("tests.soak.answers", __doc__, count=10_000)
    found = check_all(chosen.count, chosen.seed)
    for name, number in sorted(found.items()):
        sys.stdout.write(f"{name:26} {number:8}\n")
    sys.stdout.write(f"{found.total()} responses, no failure\n")


if __name__ == "__main__":
    main()
