"""Webhooks are signed and retried, and an unresponsive receiver delays nothing else."""

import json
import socket
from pathlib import Path

import pytest
from PIL import Image

from tests.support.commands import run_reelqueue
from tests.support.stack import Stack
from tests.support.waiting import wait_until
from tests.support.webhook_receiver import SECRET, webhook_receiver
from worker.egress.webhook_request import RETRY_DELAYS
from worker.ledger.model.states import State

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def webhook_stack(module_stack: Stack) -> Stack:
    """A stack whose worker has a webhook secret and may call receivers on loopback."""
    module_stack.env |= {
        "REELQUEUE_WEBHOOK_SECRET": SECRET,
        "REELQUEUE_PRIVATE_HOSTS": "127.0.0.1",
    }
    module_stack.start_worker()
    return module_stack


def pending_webhooks(stack: Stack, url: str) -> list[str]:
    """Return the keys of the webhooks that are pending for a URL."""
    hooks = list(stack.redis.scan_iter("hook:{rq}:*"))
    return [hook for hook in hooks if stack.redis.hget(hook, "url") == url]


def test_ends_are_sent_and_an_unresponsive_receiver_delays_nothing(webhook_stack: Stack) -> None:
    stack = webhook_stack
    # It accepts connections and never replies.
    with (
        socket.create_server(("127.0.0.1", 0), backlog=64) as dead,
        webhook_receiver() as good,
        webhook_receiver(fails=1) as shaky,
    ):
        dead_url = f"http://127.0.0.1:{dead.getsockname()[1]}/"
        stuck = [stack.submit(stack.image(), webhook=dead_url) for _ in range(3)]
        first = stack.submit(stack.image(), webhook=shaky.url)
        text = stack.folder / "text.png"
        text.write_text("words")
        failed = stack.submit(text, webhook=good.url)
        done = stack.submit(stack.image(), webhook=good.url)
        for job_id in (*stuck, first, done):
            stack.wait_for(job_id, State.SUCCEEDED)
        wait_until(lambda: len(good.received) == 2, "the good receiver to have both")
        found = {
            sent["data"]["job_id"]: (sent["type"], status) for _, status, sent in good.received
        }
        assert found == {done: ("job.succeeded", 204), failed: ("job.failed", 204)}
        (success,) = good.of("job.succeeded")
        assert success[2]["data"]["video"]["codec"] == "h264"
        assert "nmv_usr_" not in json.dumps(success[2])
        assert stack.redis.hget(f"job:{{rq}}:{done}", "webhook_error") is None
        wait_until(lambda: len(shaky.received) == 2, "the shaky receiver to be called again")
        (one, failure, said), (two, success_status, again) = shaky.received
        assert (one, said) == (two, again), "the same message under the same id"
        assert (failure, success_status) == (500, 204)
        # Celery's results are stored, although the webhooks of the dead receiver are pending.
        wait_until(lambda: not stack.redis.exists("outbox:{rq}"), "every result to be stored")
        assert len(pending_webhooks(stack, dead_url)) == len(stuck)


def test_a_webhook_that_is_given_up_is_noted_in_the_record(webhook_stack: Stack) -> None:
    stack = webhook_stack
    text = stack.folder / "no-picture.png"
    text.write_text("words")
    worn = stack.folder / "worn.png"
    worn.write_text("words")
    odd = stack.folder / "odd.png"
    odd.write_text("words")
    with (
        webhook_receiver(fails=9, failure=410) as gone,
        webhook_receiver(fails=9) as broken,
        webhook_receiver(fails=9) as misread,
    ):
        refused = stack.submit(text, webhook=gone.url)
        stack.wait_for(refused, State.FAILED)
        wait_until(lambda: stack.job(refused).fact("webhook_error"), "the first to be given up")
        failed = stack.submit(worn, webhook=broken.url)
        wait_until(lambda: broken.received, "a first try")
        # As if it had failed for a day: the next try is the last.
        ((hook, _, _),) = broken.received
        wait_until(lambda: stack.redis.hget(f"hook:{{rq}}:{hook}", "tries") == "1", "its failure")
        stack.redis.hset(f"hook:{{rq}}:{hook}", "tries", len(RETRY_DELAYS))
        wait_until(lambda: stack.job(failed).fact("webhook_error"), "the second to be given up")
        assert not pending_webhooks(stack, gone.url) + pending_webhooks(stack, broken.url)

        # A webhook that raises an unexpected error is retried and given up too.
        puzzling = stack.submit(odd, webhook=misread.url)
        wait_until(lambda: misread.received, "a first try")
        ((hook, _, _),) = misread.received
        wait_until(lambda: stack.redis.hget(f"hook:{{rq}}:{hook}", "tries") == "1", "its failure")
        stack.redis.hset(
            f"hook:{{rq}}:{hook}", mapping={"url": "http://[::1", "tries": len(RETRY_DELAYS)}
        )
        wait_until(lambda: stack.job(puzzling).fact("webhook_error"), "the third to be given up")
        assert (len(gone.received), len(broken.received)) == (1, 2)
    assert "410" in str(stack.job(refused).fact("webhook_error"))
    assert "500" in str(stack.job(failed).fact("webhook_error"))
    assert "unexpected error" in str(stack.job(puzzling).fact("webhook_error"))


def test_the_end_of_a_batch_is_sent_once(webhook_stack: Stack, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for n in range(2):
        Image.new("RGB", (80, 64), (n, 200, 9)).save(photos / f"{n}.png")
    with webhook_receiver() as receiver:
        command = [
            *("batch", "submit", str(photos), "--json"),
            *("--webhook", receiver.url, "--prompt", "a 1-second pan"),
        ]
        for _ in range(2):
            answer = run_reelqueue(*command, env=webhook_stack.env)
            assert answer.code == 0
            wait_until(lambda: len(receiver.of("batch.ended")) == 1, "the end of the batch")
        assert answer.records[0]["duplicates"] == 2
        wait_until(lambda: len(receiver.of("job.succeeded")) == 2, "the ends of its jobs")
        wait_until(
            lambda: not pending_webhooks(webhook_stack, receiver.url), "no webhook to be pending"
        )
        ((_, _, ended),) = receiver.of("batch.ended")
        assert (ended["data"]["total"], ended["data"]["succeeded"]) == (2, 2)


def test_a_webhook_without_a_secret_is_refused_before_submission(webhook_stack: Stack) -> None:
    env = {**webhook_stack.env, "REELQUEUE_WEBHOOK_SECRET": None}
    jobs = webhook_stack.redis.zcard("jobs:{rq}")
    image = str(webhook_stack.image())
    for command in (("submit", image), ("batch", "submit", str(webhook_stack.folder))):
        answer = run_reelqueue(*command, "--webhook", "https://example.org/", env=env)
        assert answer.code == 2
        assert "REELQUEUE_WEBHOOK_SECRET" in answer.err
    assert webhook_stack.redis.zcard("jobs:{rq}") == jobs
