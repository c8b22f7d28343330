"""Metrics of a worker, scraped over HTTP."""

from typing import Any

import httpx
import pytest

from tests.support.scrapes import Scrape, parse_scrape
from tests.support.stack import TOKEN, Stack
from tests.support.waiting import free_port, listens, wait_until
from worker.ledger.model.states import State

pytestmark = pytest.mark.integration

SCRIPTS_OF_MANY_TICKS = 100
"""More than the scripts of ten ticks, and of what else a worker does meanwhile."""
REFUSED = "metrics are not served"


def scrape(port: int) -> Scrape:
    reply = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, timeout=60)
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/plain; version=")
    assert TOKEN not in reply.text
    return parse_scrape(reply.text)


def scrape_with_stream(port: int) -> Scrape | None:
    """Return a scrape if a stream is open."""
    found = scrape(port)
    return found if found["reelqueue_worker_streams"] == 1 else None


def opens_no_connection(stack: Stack) -> bool:
    """Return whether no connection is opened during many ticks of the worker."""
    redis: Any = stack.redis

    def scripts_run() -> int:
        return int(redis.info("commandstats")["cmdstat_evalsha"]["calls"])

    opened = redis.info("stats")["total_connections_received"]
    before = scripts_run()
    wait_until(lambda: scripts_run() >= before + SCRIPTS_OF_MANY_TICKS, "many ticks")
    return bool(redis.info("stats")["total_connections_received"] == opened)


def test_metrics_show_running_work_and_an_outage_of_redis(stack: Stack) -> None:
    # Long enough for a scrape, however busy the machine is.
    stack.start_sandbox("--silent-ratio", "0", "--stream-seconds", "4")
    port = free_port()
    stack.start_worker(REELQUEUE_METRICS_PORT=str(port))
    wait_until(lambda: listens(port), "the metrics to be served")
    job_id = stack.submit(stack.image())
    found = wait_until(lambda: scrape_with_stream(port), "an open stream")
    assert found
    assert found["reelqueue_worker_leases"] == 1
    assert found['reelqueue_jobs{state="generating"}'] == 1
    assert found['reelqueue_steps_total{outcome="generating",stage="preparing"}'] == 1
    assert [value for series, value in found.items() if "in_flight" in series] == [1]
    stack.wait_for(job_id, State.SUCCEEDED)
    # It counts after the commit that the test has seen.
    wait_until(lambda: scrape(port)["reelqueue_clips_total"], "the clip to be counted")
    found = scrape(port)
    assert (found["reelqueue_clips_total"], found["reelqueue_workers"]) == (1, 1)
    assert found['reelqueue_steps_total{outcome="succeeded",stage="delivering"}'] == 1

    wait_until(lambda: opens_no_connection(stack), "a worker that keeps its connections")

    stack.valkey.freeze()
    found = scrape(port)
    assert (found["reelqueue_up"], found["reelqueue_broker_up"]) == (0, 0)
    assert "reelqueue_workers" not in found
    stack.valkey.resume()
    wait_until(lambda: scrape(port)["reelqueue_up"] == 1, "Redis to answer again")


def test_a_worker_whose_port_is_taken_runs_jobs_and_serves_metrics_later(stack: Stack) -> None:
    stack.start_sandbox()
    port = free_port()
    first = stack.start_worker(REELQUEUE_METRICS_PORT=str(port))
    wait_until(lambda: listens(port), "the metrics to be served")
    second = stack.start_worker(REELQUEUE_METRICS_PORT=str(port))
    wait_until(lambda: REFUSED in second.text(), "the worker to log that the port is taken")
    first.kill()
    stack.wait_for(stack.submit(stack.image()), State.SUCCEEDED)
    wait_until(lambda: listens(port), "the port to be taken over")
    assert scrape(port)["reelqueue_clips_total"] == 1
    assert second.text().count(REFUSED) == 1
