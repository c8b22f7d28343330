"""Metrics of a real worker, scraped over the wire."""

import httpx
import pytest

from tests.support.scrapes import Scrape, parse_scrape
from tests.support.stack import TOKEN, Stack
from tests.support.waiting import free_port, listens, wait_until
from worker.ledger.model.states import State

pytestmark = pytest.mark.integration

REFUSED = "metrics are not served"


def scrape(port: int) -> Scrape:
    reply = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, timeout=10)
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/plain; version=")
    assert TOKEN not in reply.text
    return parse_scrape(reply.text)


def test_a_worker_tells_what_it_does_and_when_redis_is_away(stack: Stack) -> None:
    stack.start_sandbox("--silent-ratio", "0", "--stream-seconds", "1.5")
    port = free_port()
    stack.start_worker(REELQUEUE_METRICS_PORT=str(port))
    wait_until(lambda: listens(port), "the metrics to be served")
    job_id = stack.submit(stack.image())
    wait_until(lambda: scrape(port)["reelqueue_worker_streams"] == 1, "an open stream")
    found = scrape(port)
    assert found["reelqueue_worker_leases"] == 1
    assert found['reelqueue_jobs{state="generating"}'] == 1
    assert found['reelqueue_steps_total{outcome="generating",stage="preparing"}'] == 1
    assert [value for series, value in found.items() if "in_flight" in series] == [1]
    stack.wait_for(job_id, State.SUCCEEDED)
    found = scrape(port)
    assert (found["reelqueue_clips_total"], found["reelqueue_workers"]) == (1, 1)
    assert found['reelqueue_steps_total{outcome="succeeded",stage="delivering"}'] == 1

    stack.valkey.freeze()
    found = scrape(port)
    assert (found["reelqueue_up"], found["reelqueue_broker_up"]) == (0, 0)
    assert "reelqueue_workers" not in found
    stack.valkey.resume()
    wait_until(lambda: scrape(port)["reelqueue_up"] == 1, "Redis to be found again")


def test_a_worker_whose_port_is_taken_works_and_waits_for_it(stack: Stack) -> None:
    stack.start_sandbox()
    port = free_port()
    first = stack.start_worker(REELQUEUE_METRICS_PORT=str(port))
    wait_until(lambda: listens(port), "the metrics to be served")
    second = stack.start_worker(REELQUEUE_METRICS_PORT=str(port))
    wait_until(lambda: REFUSED in second.text(), "the port to be found taken")
    first.kill()
    stack.wait_for(stack.submit(stack.image()), State.SUCCEEDED)
    wait_until(lambda: listens(port), "the port to be taken over")
    assert scrape(port)["reelqueue_clips_total"] == 1
    assert second.text().count(REFUSED) == 1
