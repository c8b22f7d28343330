"""Metrics: the values of a known state, and what is left out if a server does not answer."""

import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from pydantic import SecretStr
from redis import Redis
from structlog.testing import capture_logs

from config.settings import (
    ApiSettings,
    RedisSettings,
    Settings,
)
from tests.support.ledger_access import submit_many
from tests.support.scrapes import Scrape, parse_scrape
from tests.support.valkey import Valkey
from tests.support.waiting import refusing_port
from tests.unit.conftest import OpenRuntime
from worker.journal.identity import IdentityVerdict
from worker.ledger.model.states import HOLD_REASONS, Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.model.submissions import NewJob
from worker.ledger.problems import Part
from worker.ledger.webhooks import Webhooks
from worker.runtime.checks.durability import CHECKS, CheckResult
from worker.runtime.runtime import Runtime
from worker.runtime.worker_registry import register_worker
from worker.telemetry.metrics import STEPS
from worker.telemetry.metrics_server import Exporter, metrics_registry, scrape_clients

TOKEN = "nmv_usr_registered_for_tests"
WEBHOOK = "https://one.example/webhook"
DOCS = Path(__file__).resolve().parents[4] / "docs" / "metrics.md"


def settings(url: str, broker_url: SecretStr | None = None) -> Settings:
    redis = RedisSettings(url=SecretStr(url), broker_url=broker_url, namespace="t")
    return Settings(api=ApiSettings(tokens=(SecretStr(TOKEN),)), redis=redis)


@pytest.fixture
def runtime(redis: Redis, valkey: Valkey, open_runtime: OpenRuntime) -> Runtime:
    redis.ping()
    return open_runtime(settings(valkey.url))


class Scraper:
    """Scrapes the metrics of a process."""

    def __init__(self, runtime: Runtime) -> None:
        self._clients = scrape_clients(runtime.settings)
        self._registry = metrics_registry(runtime, *self._clients)

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def text(self) -> str:
        return generate_latest(self._registry).decode()

    def scrape(self) -> Scrape:
        return parse_scrape(self.text())


def submit(runtime: Runtime, *job_ids: str, webhook: str = "") -> None:
    payload = {"webhook": webhook} if webhook else {}
    jobs = [NewJob(id=job_id, payload=payload, fingerprint="f") for job_id in job_ids]
    submit_many(runtime.ledger, jobs)


def end(runtime: Runtime, job_id: str, commit: Commit) -> None:
    claim = runtime.ledger.claim(job_id, "w", "n")
    assert runtime.ledger.commit(job_id, claim.fence, commit)


def pay(runtime: Runtime, job_id: str, account: str) -> None:
    """Begin a paid message of 100 credits."""
    fence = runtime.ledger.claim(job_id, "w", "n").fence
    runtime.ledger.update_facts(job_id, fence, {"account": account})
    intent = runtime.payments.begin(job_id, fence, turn=1, call=f"{job_id}:1:1", cost=100, cap=9)
    assert intent.verdict == "OK"


def each(name: str, label: str, values: Mapping[Any, float]) -> Scrape:
    return {f'reelqueue_{name}{{{label}="{key}"}}': value for key, value in values.items()}


def test_each_metric_has_the_value_of_the_known_state(runtime: Runtime) -> None:
    ledger, (account,) = runtime.ledger, runtime.accounts.names()
    redis = ledger.redis
    runtime.payments.record_balance(
        account, read_at=ledger.now_ms() - 60_000, available=900, frozen=0, total=900
    )
    submit(runtime, "done", "held", webhook=WEBHOOK)
    submit(runtime, "paid", "late")
    assert len(ledger.due(9, room=9, admit=9)) == 4
    submit(runtime, "q1", "q2", "q3")
    end(runtime, "done", Commit(State.SUCCEEDED))
    end(runtime, "held", Commit(State.HELD, reason=Reason.BUDGET, resume=State.PREPARING))
    pay(runtime, "paid", account)
    runtime.payments.record_rate_limited(account, 1000)
    redis.zadd(ledger.key("agenda"), {"late": ledger.now_ms() - 90_000})
    redis.zadd(ledger.key("polls"), {"late": ledger.now_ms() - 30_000, "next": "+inf"})
    redis.hset(ledger.key("unreadable"), "odd", "it has no state")
    register_worker(ledger, "w1@here", 10, 60)
    register_worker(ledger, "w2@here", 20, 60)
    register_worker(ledger, "gone@here", 40, -1)
    redis.rpush("t.wakeups", "1", "2")
    redis.rpush("reelqueue.t", "1")
    redis.rpush("reelqueue.t\x06\x169", "1", "2", "3")
    runtime.status.lagging = True
    runtime.status.redis_failures = (CheckResult("memory", False, "1 MiB used"),)
    with runtime.leases.hold("paid", "1:n", 60) as lease, runtime.leases.hold("late", "1:n", 60):
        lease.abort = lambda: None
        text = Scraper(runtime).text()
    assert TOKEN not in text
    found = {series: value for series, value in parse_scrape(text).items() if "steps" not in series}

    states = {**dict.fromkeys(State, 0), State.QUEUED: 3, State.PREPARING: 2}
    states |= {State.SUCCEEDED: 1, State.HELD: 1}
    ages = {
        "agenda_oldest_due_seconds": 90,
        "outbox_oldest_due_seconds": 0,
        "polls_oldest_due_seconds": 30,
        "ticker_silence_seconds": 0,
        f'account_balance_age_seconds{{account="{account}"}}': 60,
    }
    for name, least in ages.items():
        assert least <= found.pop(f"reelqueue_{name}") < least + 30
    assert 970 < found.pop(f'reelqueue_account_cooling_seconds{{account="{account}"}}') <= 1000
    figures = {
        "up": 1,
        "broker_up": 1,
        "clips_total": 1,
        "webhooks_pending": 2,
        "flower_events_waiting": 3,
        "set_aside_records": 1,
        "set_aside_messages": 0,
        "agenda_waiting": 2,
        "agenda_due": 1,
        "polls_waiting": 2,
        "polls_due": 1,
        "outbox_waiting": 2,
        "outbox_due": 2,
        "workers": 2,
        "slots": 30,
        "worker_leases": 2,
        "worker_streams": 1,
        "worker_may_pay": 0,
        "worker_lagging": 1,
        "worker_draining": 0,
    }
    money = {"available_credits": 900, "reserved_credits": 100, "spent_credits": 0}
    money |= {"messages_in_flight": 1, "messages_window": 5}
    assert found == {
        **{f"reelqueue_{name}": value for name, value in figures.items()},
        **each("jobs", "state", states),
        **each(
            "held_jobs", "reason", {reason: int(reason == Reason.BUDGET) for reason in HOLD_REASONS}
        ),
        **each("worker_pay_obstacle", "check", {check: int(check == "memory") for check in CHECKS}),
        **each("worker_ledger_identity", "verdict", dict.fromkeys(IdentityVerdict, 0)),
        **each("problem_seconds", "part", dict.fromkeys(Part, 0)),
        **each(
            "starts_blocked_seconds",
            "why",
            dict.fromkeys(("queue", "places", "streams", "preparing"), 0),
        ),
        **each("queue_messages", "queue", {"wakeups": 2, "submissions": 4}),
        **{
            f'reelqueue_account_{name}{{account="{account}"}}': value
            for name, value in money.items()
        },
    }


def test_credits_of_an_account_that_was_never_read_are_left_out(runtime: Runtime) -> None:
    found = Scraper(runtime).scrape()
    assert not [series for series in found if "available" in series or "balance_age" in series]
    assert [series for series in found if "reserved_credits" in series]
    assert "reelqueue_ticker_silence_seconds" not in found


def test_a_webhook_is_pending_until_it_is_received_or_given_up(runtime: Runtime) -> None:
    scraper, hooks = Scraper(runtime), Webhooks(runtime.ledger)
    submit(runtime, "a", "b", "c", webhook=WEBHOOK)
    runtime.ledger.cancel_many(["a", "b", "c"])
    assert scraper.scrape()["reelqueue_webhooks_pending"] == 3
    (receiver,) = hooks.lease_receivers()
    for settle in hooks.received, lambda hook: hooks.give_up(hook, "gone"):
        hook = hooks.due(receiver)
        assert hook is not None
        settle(hook)
        settle(hook)
    assert scraper.scrape()["reelqueue_webhooks_pending"] == 1
    runtime.ledger.redis.delete(runtime.ledger.key("hook", "job_c_1"))
    assert hooks.due(receiver) is None
    assert scraper.scrape()["reelqueue_webhooks_pending"] == 0


def test_a_scrape_costs_the_same_regardless_of_the_number_of_jobs(runtime: Runtime) -> None:
    scraper, redis = Scraper(runtime), runtime.ledger.redis
    assert scraper.scrape()["reelqueue_up"] == 1
    costs = []
    for waiting in 10, 2000:
        submit(runtime, *(f"j{n}" for n in range(waiting)))
        before = redis.info("stats")
        assert scraper.scrape()['reelqueue_jobs{state="queued"}'] == waiting
        after = redis.info("stats")
        sent = after["total_net_output_bytes"] - before["total_net_output_bytes"]
        costs.append((after["total_commands_processed"] - before["total_commands_processed"], sent))
    assert costs[0][0] == costs[1][0]
    assert costs[1][1] < 1.1 * costs[0][1], costs


def test_an_outage_is_logged_once_and_recovered_from(
    tmp_path: Path, open_runtime: OpenRuntime
) -> None:
    server = Valkey(tmp_path).start()
    scraper = Scraper(open_runtime(settings(server.url)))
    try:
        assert scraper.scrape()["reelqueue_up"] == 1
        server.stop()
        server.start()
        assert scraper.scrape()["reelqueue_up"] == 1, "a broken connection is replaced"
        server.stop()
        with capture_logs() as lines:
            scraper.scrape()
            found = scraper.scrape()
        assert [line["server"] for line in lines] == ["Redis", "broker"]
        assert (found["reelqueue_up"], found["reelqueue_broker_up"]) == (0, 0)
        assert found["reelqueue_worker_may_pay"] == 1
        assert not [series for series in found if "jobs" in series]
        server.start()
        assert scraper.scrape()["reelqueue_up"] == 1
    finally:
        scraper.close()
        server.stop()


def test_an_outage_of_the_broker_hides_only_its_queues(
    redis: Redis, valkey: Valkey, open_runtime: OpenRuntime
) -> None:
    redis.ping()
    unused = SecretStr(f"redis://127.0.0.1:{refusing_port()}/0")
    scraper = Scraper(open_runtime(settings(valkey.url, broker_url=unused)))
    found = scraper.scrape()
    scraper.close()
    assert (found["reelqueue_up"], found["reelqueue_broker_up"]) == (1, 0)
    assert not [series for series in found if "queue_messages" in series]


def test_a_port_in_use_is_logged_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, capture_logs() as lines:
        exporter = Exporter("127.0.0.1", taken.getsockname()[1], lambda _environ, _start: [])
        exporter.serve()
        exporter.serve()
    assert [line["event"] for line in lines] == ["metrics are not served; everything else works"]
    assert "REELQUEUE_METRICS_PORT" in lines[0]["remedy"]


def test_the_documentation_lists_every_metric_and_no_other(runtime: Runtime) -> None:
    STEPS.labels("preparing", "generating").inc(0)
    runtime.payments.record_balance(
        runtime.accounts.names()[0], read_at=1, available=1, frozen=0, total=1
    )
    runtime.ledger.due(1, room=1, admit=1)
    served = set(re.findall(r"^# TYPE (\w+)", Scraper(runtime).text(), re.MULTILINE))
    listed = re.findall(r"^\| `(reelqueue_\w+)", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(served)


def test_each_worker_shows_the_accounts_of_all(runtime: Runtime) -> None:
    register_worker(runtime.ledger, "w2", 10, 60, ["account-of-another"])
    assert (
        'reelqueue_account_messages_window{account="account-of-another"}' in Scraper(runtime).text()
    )
