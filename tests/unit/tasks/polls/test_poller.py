"""The poller: what becomes of each answer to a poll, and of the group that it is in."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from pydantic import SecretStr
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from structlog.testing import capture_logs

from config.settings import ApiSettings, Settings
from tasks.polls.poller import Poller
from tests.support.api_responses import state_envelope
from tests.support.waiting import wait_until
from tests.unit.conftest import OpenRuntime
from tests.unit.worker.loopback_server import Handler, Server, json_reply, serving
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.model.submissions import NewJob
from worker.ledger.scripts import Scripts
from worker.runtime.runtime import Runtime

PROCESSING = json_reply({"status": "processing"})
COMPLETED = json_reply({"status": "completed", "output": {"url": "https://example.org/clip.mp4"}})
FAILED = json_reply({"status": "failed", "message": "out of memory"})


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


class Polled:
    """A runtime with jobs whose renders are due, and its poller."""

    def __init__(self, runtime: Runtime, server: Server) -> None:
        self.runtime, self.server = runtime, server
        self.poller = Poller(runtime)
        (self.account,) = runtime.accounts.names()

    def render(self, job_id: str, *answers: Any, **facts: str) -> None:
        """Make a job whose render is due for a poll, which is answered with these in turn."""
        ledger = self.runtime.ledger
        ledger.submit(NewJob(id=job_id, payload={"image": "cat.jpg"}, fingerprint=job_id))
        ledger.due(10, room=10, admit=10)
        fence = ledger.claim(job_id, "w0", f"n{job_id}").fence
        turn = {"call:1": f"{job_id}:1", "outcome:1": "done", "paid": "1"}
        known = {"account": self.account, "session_id": f"s-{job_id}", "draft": "{}"}
        render = {"render_id": f"r-{job_id}", "render_submitted": "1", "polls": "0"}
        end = Commit(State.RENDERING, delay=0.001, facts={**turn, **known, **render, **facts})
        assert ledger.commit(job_id, fence, end)
        self.answer(job_id, *answers)

    def answer(self, job_id: str, *answers: Any) -> None:
        self.server.on(f"GET /api/render/proxy/lambda/r-{job_id}", *answers)

    def job(self, job_id: str = "j") -> Job:
        job = self.runtime.ledger.job(job_id)
        assert job is not None
        return job

    def sweep_until(self, *job_ids: str) -> None:
        """Sweep until the steps of these jobs have ended."""

        def ended() -> bool:
            self.poller.sweep()
            jobs = [self.job(job_id) for job_id in job_ids]
            return all(not job.owner and job.attempts > 1 for job in jobs)

        wait_until(ended, "the polls to end")

    def has_stopped(self) -> bool:
        self.poller.commit()
        return self.poller.is_idle

    def polls_made(self) -> list[str]:
        return [request.path.rpartition("/r-")[2] for request in self.server.requests]


@pytest.fixture
def polled(
    redis: Redis, settings: Settings, server: Server, open_runtime: OpenRuntime
) -> Iterator[Polled]:
    redis.ping()
    api = ApiSettings(url=server.url, tokens=(SecretStr("nmv_usr_t"),))
    found = Polled(open_runtime(settings.model_copy(update={"api": api})), server)
    yield found
    # A poll that ends later would connect again.
    wait_until(found.has_stopped, "the polls to end")
    found.poller.close()


def test_polls_of_unfinished_renders_are_committed_together(polled: Polled) -> None:
    for name in ("a", "b", "c"):
        polled.render(name, PROCESSING)
    polled.sweep_until("a", "b", "c")
    for name in ("a", "b", "c"):
        job = polled.job(name)
        assert (job.state, job.number("polls"), job.number("tries")) == (State.RENDERING, 1, 0)
        assert job.not_before > polled.runtime.ledger.now_ms() + 20_000
    assert sorted(polled.polls_made()) == ["a", "b", "c"]
    assert (len(polled.runtime.leases), polled.poller.is_idle) == (0, True)


def test_a_poll_that_hangs_delays_no_other_and_keeps_its_lease(polled: Polled) -> None:
    release = threading.Event()

    def hang(handler: Handler) -> None:
        release.wait(30)
        PROCESSING(handler)

    polled.render("slow", hang)
    polled.render("quick", PROCESSING)
    polled.sweep_until("quick")
    slow = polled.job("slow")
    assert slow.owner == polled.runtime.owner
    before = slow.lease
    polled.runtime.leases.heartbeat()
    assert polled.job("slow").lease > before
    release.set()
    polled.sweep_until("slow")
    assert polled.job("slow").number("polls") == 1


def test_a_finished_render_waits_for_its_delivery(polled: Polled) -> None:
    polled.render("j", COMPLETED)
    polled.sweep_until("j")
    job = polled.job()
    assert (job.state, job.fact("source_url")) == (
        State.DELIVERING,
        "https://example.org/clip.mp4",
    )
    assert polled.runtime.ledger.due(9, room=9, admit=9) == [("j", State.DELIVERING)]


def test_a_failed_render_is_submitted_again_by_a_step(polled: Polled) -> None:
    polled.render("j", FAILED)
    polled.sweep_until("j")
    job = polled.job()
    assert (job.state, job.fact("render_id"), job.number("render_tries")) == (
        State.RENDERING,
        None,
        1,
    )
    assert polled.runtime.ledger.due(9, room=9, admit=9) == [("j", State.RENDERING)]


@pytest.mark.parametrize(
    ("renders", "state", "reason"),
    [("0", State.RENDERING, None), ("1", State.HELD, Reason.RENDER_SLOW)],
)
def test_a_slow_render_is_repeated_once_and_then_held(
    polled: Polled, renders: str, state: State, reason: Reason | None
) -> None:
    most = polled.runtime.settings.timing.render_max_polls
    polled.render("j", PROCESSING, polls=str(most - 1), render_tries=renders)
    polled.sweep_until("j")
    job = polled.job()
    assert (job.state, job.reason, job.number("polls")) == (
        state,
        reason,
        0 if reason else most - 1,
    )


def test_a_poll_that_fails_is_repeated_soon_and_counts_as_a_failure(polled: Polled) -> None:
    polled.render("j", json_reply({"message": "busy"}, 503))
    polled.sweep_until("j")
    job = polled.job()
    assert (job.state, job.number("tries"), job.number("polls")) == (State.RENDERING, 1, 0)
    assert job.fact("trouble") == "busy"


def test_a_rate_limit_cools_the_account_down_for_all_polls(polled: Polled) -> None:
    again = {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=100))}
    polled.render("j", json_reply({"message": "slow down"}, 429, again))
    polled.sweep_until("j")
    assert polled.runtime.ledger.account(polled.account).cooling_until
    assert polled.job().number("tries") == 1
    polled.render("other", PROCESSING, polls="3")
    polled.sweep_until("other")
    job = polled.job("other")
    assert job.not_before > polled.runtime.ledger.now_ms() + 80_000
    assert (job.number("polls"), polled.polls_made()) == (3, ["j"])


def test_a_refused_token_holds_the_job(polled: Polled) -> None:
    polled.render("j", json_reply({"code": 1001, "message": "expired"}, 401))
    polled.sweep_until("j")
    assert (polled.job().state, polled.job().reason) == (State.HELD, Reason.TOKEN)


def test_a_retired_account_is_left_to_a_step_which_finds_the_new_one(polled: Polled) -> None:
    polled.server.on("GET /api/state/nemo_agent/me/s-j/latest", json_reply(state_envelope()))
    polled.render("j", PROCESSING, account="account-retired")
    polled.sweep_until("j")
    assert (polled.job().fact("keeper"), polled.job().number("polls")) == (polled.account, 1)


def test_a_lost_lease_writes_nothing(polled: Polled) -> None:
    key = polled.runtime.ledger.key("job", "j")

    def take(handler: Handler) -> None:
        polled.runtime.ledger.redis.hset(key, mapping={"owner": "w2", "nonce": "n2"})
        PROCESSING(handler)

    polled.render("j", take)

    def idle_again() -> bool:
        polled.poller.sweep()
        return bool(polled.server.requests) and polled.poller.is_idle

    wait_until(idle_again, "the poll to end")
    assert (polled.job().owner, polled.job().number("polls")) == ("w2", 0)


def test_a_job_that_has_ended_meanwhile_causes_no_error(polled: Polled) -> None:
    """Another worker has taken it over while this one was frozen."""

    def end(handler: Handler) -> None:
        ledger = polled.runtime.ledger
        ledger.redis.hset(ledger.key("job", "j"), "lease", 1)
        fence = ledger.claim("j", "w2", "n2").fence
        assert ledger.commit("j", fence, Commit(State.SUCCEEDED))
        COMPLETED(handler)

    polled.render("j", end)

    def idle_again() -> bool:
        polled.poller.sweep()
        return bool(polled.server.requests) and polled.poller.is_idle

    with capture_logs() as logs:
        wait_until(idle_again, "the poll to end")
    assert [log["event"] for log in logs if log["log_level"] != "debug"] == ["lease lost"]
    assert polled.job().state is State.SUCCEEDED


@pytest.mark.parametrize("status", ["draining", "lagging"])
def test_an_overloaded_worker_or_one_that_stops_claims_nothing_but_commits(
    polled: Polled, status: str
) -> None:
    def stop(handler: Handler) -> None:
        setattr(polled.runtime.status, status, True)
        PROCESSING(handler)

    polled.render("a", stop)
    polled.sweep_until("a")
    polled.render("b", PROCESSING)
    polled.poller.sweep()
    assert (polled.job("a").number("polls"), polled.job("b").attempts) == (1, 1)


@pytest.mark.parametrize("script", ["claim_polls", "commit_polls"])
def test_a_call_without_a_reply_is_repeated_by_the_next_sweep(
    polled: Polled, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    """The call has run: its polls must not wait for the end of their leases."""
    run = Scripts.run
    lost: list[str] = []

    def run_and_lose(scripts: Scripts, name: str, *values: object, **options: Any) -> Any:
        reply = run(scripts, name, *values, **options)
        if name == script and not lost:
            lost.append(name)
            raise RedisConnectionError("reset")
        return reply

    monkeypatch.setattr(Scripts, "run", run_and_lose)
    polled.render("j", PROCESSING)

    def committed() -> bool:
        try:
            polled.poller.sweep()
        except RedisConnectionError:
            return False
        return polled.job().number("polls") == 1

    wait_until(committed, "the poll to be committed")
    assert (lost, polled.polls_made()) == ([script], ["j"])


def test_a_worker_sends_no_request_before_its_next_claim(
    polled: Polled, monkeypatch: pytest.MonkeyPatch
) -> None:
    polled.poller._idle = 3600
    polled.poller.sweep()
    monkeypatch.setattr(Scripts, "run", None)
    polled.poller.sweep()
