"""The lean backend of the measurements answers every call of a job as the client expects."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.bench.backend.api import DRAFT
from tests.bench.backend.stack import Backend
from worker.nemo.client import NemoClient
from worker.nemo.http.headers import Identity
from worker.nemo.http.transport import open_http
from worker.nemo.responses import RenderState
from worker.nemo.streaming.events import End, Heartbeat, Text

CONTENT = b"what a player would show"


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    (tmp_path / "clip").write_bytes(CONTENT)
    flags = ("--stream-seconds", "0.2", "--heartbeat-seconds", "0.05", "--rendering-polls", "1")
    backend = Backend(tmp_path, *flags, "--clip", str(tmp_path / "clip"))
    yield backend
    backend.stop()


def test_a_job_runs_against_the_backend(backend: Backend) -> None:
    with open_http(backend.url) as http:
        client = NemoClient(
            http,
            api_url=backend.url,
            web_url="https://example.com",
            identity=Identity("test", "1.0.0"),
            token=SecretStr("nmv_usr_measured"),
        )
        session = client.create_session()
        client.claim_link(session.task_id, session.session_id)
        client.upload_file(session.session_id, "a.png", "image/png", io.BytesIO(b"0" * 300_000))
        before = client.credits().available
        assert not client.state(session.session_id).draft.is_ready
        with client.message(session.session_id, "a slow push-in", read_timeout=30) as stream:
            events = list(stream)
        assert events[-1] == End(clean=True)
        assert {Text, Heartbeat} <= {type(event) for event in events}
        assert before - client.credits().available == 100
        draft = client.state(session.session_id).draft
        assert (draft.raw, draft.seconds) == (DRAFT, 10)
        client.submit_render("render_1", session.session_id, draft)
        assert client.render_status("render_1").status is RenderState.PROCESSING
        status = client.render_status("render_1")
        sink = io.BytesIO()
        client.download(status.url, "render_1", sink, 10**6)
        assert sink.getvalue() == CONTENT
    counts = backend.counts()
    assert counts["calls"]["poll"] == len(counts["gaps"]) == 2
    assert (counts["streams"], counts["most_streams"]) == (0, 1)
