"""Uploads to the session of a job: no file arrives twice, whoever sends it."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import SecretStr

from config.settings import ApiSettings
from tasks.producer.follow_up.session_upload import upload
from tasks.producer.producer import Producer
from tasks.schema.errors import NotSayable
from tests.support.api_responses import envelope
from tests.unit.tasks.conftest import ProducerHarness
from tests.unit.worker.loopback_server import PATIENCE, Handler, json_reply, serving
from worker.accounts.credentials import account_tokens
from worker.ledger.model.states import State

UPLOAD = "/api/upload-video/nemo_agent/me/s"


def test_a_file_that_two_commands_upload_at_the_same_time_arrives_once(
    harness: ProducerHarness,
) -> None:
    picture, job_id = str(harness.picture("logo.png")), harness.submit()
    arrived, refused = threading.Event(), threading.Event()

    def slow(handler: Handler) -> None:
        arrived.set()
        assert refused.wait(PATIENCE)
        json_reply(envelope())(handler)

    with serving() as server, ThreadPoolExecutor() as pool:
        server.on(f"POST {UPLOAD}", slow)
        api = ApiSettings(url=server.url, tokens=(SecretStr("nmv_usr_t"),))
        settings = harness.producer.settings.model_copy(update={"api": api})
        (account,) = account_tokens(settings)
        harness.finish_step(job_id, State.CANCELLED, facts={"account": account, "session_id": "s"})
        producer = Producer.open(settings)
        job = producer.ledger.job(job_id)
        assert job is not None
        first = pool.submit(upload, producer, job, [picture])
        try:
            assert arrived.wait(PATIENCE)
            with pytest.raises(NotSayable, match="another command is uploading it"):
                upload(producer, job, [picture])
        finally:
            refused.set()
        assert "logo.png" in first.result(PATIENCE).text
        assert "logo.png" in upload(producer, job, [picture]).text, "it is there already"
        assert len(server.requests) == 1
