"""Prompts, signed addresses, webhooks and secrets appear on no side channel of a worker."""

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from celery import Celery
from pydantic import SecretStr

from config.celery import celery_config
from config.settings import RedisSettings, Settings
from tests.support.celery_apps import closing_results
from tests.support.event_log import EventLog, event_log
from tests.support.processes import run_command_line
from tests.support.stack import TOKEN, Stack
from tests.support.waiting import free_port, listens, wait_until
from tests.support.webhook_receiver import SECRET as WEBHOOK_SECRET

pytestmark = pytest.mark.integration

PASSWORD = "Zq9-redis-password-77"
PROMPT, SIGNATURE, PATH = "PRIVATE-PROMPT", "SIGNATURE123", "SECRETPATH"
PAYLOAD = {
    "image": f"https://127.0.0.1:1/p.png?X-Signature={SIGNATURE}",
    "prompt": PROMPT,
    "webhook": f"https://127.0.0.1:1/t/{PATH}",
}
SECRETS = (PASSWORD, PROMPT, SIGNATURE, PATH, TOKEN, WEBHOOK_SECRET)


class SentryServer:
    """A server that keeps the envelopes that Sentry's client sends."""

    def __init__(self) -> None:
        self.envelopes: list[str] = []
        envelopes = self.envelopes

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                envelopes.append(body.decode(errors="replace"))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.dsn = f"http://key@127.0.0.1:{self.server.server_port}/1"


@pytest.fixture
def sentry() -> Iterator[SentryServer]:
    server = SentryServer()
    thread = threading.Thread(target=server.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.server.shutdown()
    server.server.server_close()
    thread.join()


def settings_with_secrets(stack: Stack) -> dict[str, str]:
    """Return settings with a password of Redis and a secret of webhooks."""
    grant: Any = stack.redis.execute_command
    grant("ACL", "SETUSER", "rq", "on", f">{PASSWORD}", "~*", "&*", "+@all")
    url = f"redis://rq:{PASSWORD}@127.0.0.1:{stack.valkey.port}/0"
    return {"REDIS_URL": url, "REELQUEUE_WEBHOOK_SECRET": WEBHOOK_SECRET}


def submit_unusable_job(stack: Stack) -> None:
    """Submit a job of which a step raises an exception that nobody expected."""
    job_id = stack.submit(stack.image(), prompt=PROMPT, webhook=PAYLOAD["webhook"])
    stack.redis.hset(stack.ledger.key("job", job_id), "next_attempt", "1:no number")


def process_and_refuse(stack: Stack, app: Celery, log: EventLog) -> tuple[str, str]:
    """Send a job, a wrong one, a step that fails and a message of another service.

    Returns:
        The ids of the first two tasks, when the worker has processed all.
    """
    done = app.send_task("tasks.submit", args=[{**PAYLOAD, "key": "a"}])
    job_id = done.get(timeout=120)["job_id"]
    refused = app.send_task("tasks.submit", args=[{**PAYLOAD, "key": "b", "seconds": PROMPT}])
    with pytest.raises(ValueError, match="seconds"):
        refused.get(timeout=120)
    # A key of another type.
    stack.redis.set("job:{rq}:broken", "text")
    app.send_task("tasks.prepare", args=["broken"], queue="rq.wakeups")
    raw = json.dumps({"body": PROMPT, "headers": {"task": SIGNATURE}})
    stack.redis.lpush("reelqueue", raw)
    wait_until(lambda: stack.job(job_id).state.is_end, "the job to fail")
    wait_until(lambda: stack.redis.hlen("messages_aside:{rq}"), "the message to be set aside")
    wait_until(lambda: log.of_task("tasks.prepare"), "an event of a stage")
    wait_until(lambda: "task-failed" in log.types_of(job_id), "the job's end in Flower")
    return str(done.id), str(refused.id)


def inspected(app: Celery, workers: int, task_id: str) -> str:
    """Return what workers answer to the commands of Celery's remote control."""
    control = app.control.inspect(limit=workers, timeout=30)
    commands = "conf", "stats", "active", "reserved", "scheduled", "report"
    answers = [getattr(control, command)() for command in commands]
    return repr([*answers, control.query_task(task_id)])


def test_no_side_channel_has_a_prompt_an_address_or_a_secret(
    stack: Stack, sentry: SentryServer
) -> None:
    stack.start_sandbox()
    port = free_port()
    submit_unusable_job(stack)
    stack.env |= settings_with_secrets(stack)
    worker = stack.start_worker(
        REELQUEUE_METRICS_PORT=str(port), SENTRY_DSN=sentry.dsn, REELQUEUE_STAGE_EVENTS="1"
    )
    wait_until(lambda: listens(port), "the metrics to be served")
    # The app of the service, as Flower uses it when its HTTP API submits.
    app = Celery("side-channels", set_as_current=False)
    redis = RedisSettings(url=SecretStr(stack.env["REDIS_URL"]))
    app.config_from_object(celery_config(Settings(redis=redis)))
    with closing_results(app), event_log(app) as log:
        done, refused = process_and_refuse(stack, app, log)
        wait_until(lambda: sentry.envelopes, "the exception to be reported to Sentry")
        doctor = run_command_line("doctor", folder=stack.folder, **stack.env)
        metrics = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, timeout=60).text
        channels = {
            "results": stack.redis.get(f"celery-task-meta-{refused}"),
            "inspect": inspected(app, len(stack.workers), done),
            "metrics": metrics,
            "doctor": doctor.stdout + doctor.stderr,
        }
    worker.stop()
    channels |= {
        "events": json.dumps(log.events, default=str),
        "log": worker.text(),
        "sentry": "".join(sentry.envelopes),
    }
    assert "reelqueue_jobs" in metrics
    assert log.has("worker-heartbeat")
    assert "ValueError" in str(channels["sentry"])
    for name, text in channels.items():
        assert text is not None
        leaked = [secret for secret in SECRETS if secret in str(text)]
        assert not leaked, f"{name}: {leaked}"
    assert log.of_task("tasks.submit") == []
