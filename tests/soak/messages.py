"""Mutated messages in the queue of submissions, beside jobs that run, through a real worker.

``python -m tests.soak.messages --count 100000 --seed 7`` prints how many were set aside, and why.
"""

import json
import random
import sys
from collections import Counter
from typing import Final

from celery import Celery

from tests.support.celery_apps import third_party
from tests.support.celery_messages import mutated_submission
from tests.support.options import parse_count_and_seed
from tests.support.stack import Stack, temporary_stack
from tests.support.waiting import wait_until

PAGE: Final = 500
JOBS_EACH: Final = 10_000
"""One job that must succeed is submitted before each so many mutated messages."""
PAGE_SECONDS: Final = 300.0


def send_all(stack: Stack, sender: Celery, count: int, seed: int) -> int:
    """Send mutated messages, a page at a time, and jobs between them; how many jobs there are."""
    chance, results = random.Random(seed), []
    worker = stack.start_worker()
    for sent in range(0, count, PAGE):
        if sent % JOBS_EACH == 0:
            payload = {"image": str(stack.image()), "prompt": "a 1-second pan left"}
            results.append(sender.send_task("tasks.submit", queue="reelqueue", args=[payload]))
        page = (mutated_submission(chance) for _ in range(min(PAGE, count - sent)))
        stack.redis.lpush("reelqueue", *page)
        wait_until(
            lambda: not worker.alive or not stack.redis.llen("reelqueue"),
            "a page to be handled",
            PAGE_SECONDS,
            worker.text,
        )
        assert worker.alive, f"the worker ended before message {sent + PAGE} of seed {seed}"
    for result in results:
        job_id = result.get(timeout=PAGE_SECONDS)["job_id"]
        assert sender.AsyncResult(job_id).get(timeout=PAGE_SECONDS)["state"] == "succeeded"
    before, found, after = worker.text().partition("Traceback")
    assert not found, before[-1000:] + found + after[:3000]
    return len(results)


def main() -> None:
    """Send the messages, and print what became of them."""
    chosen = parse_count_and_seed("tests.soak.messages", __doc__, count=100_000)
    with temporary_stack() as stack:
        stack.start_sandbox()
        with third_party(stack.valkey.url) as sender:
            jobs = send_all(stack, sender, chosen.count, chosen.seed)
        reasons: Counter[str] = Counter()
        for _, value in stack.redis.hscan_iter("messages_aside:{rq}", count=1000):
            reasons[json.loads(value)["reason"][:60]] += 1
    for reason, number in reasons.most_common():
        sys.stdout.write(f"{reason:60} {number:8}\n")
    aside = reasons.total()
    sys.stdout.write(f"{chosen.count} messages, {aside} set aside, {jobs} jobs, no failure\n")


if __name__ == "__main__":
    main()
