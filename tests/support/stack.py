"""A stack of servers on loopback: Valkey, the stand-in, and the workers that a test starts."""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from pydantic import SecretStr
from redis import Redis

from tests.support.processes import Process, Sandbox, Worker
from tests.support.valkey import Valkey, valkey_in_memory
from tests.support.waiting import wait_until
from worker.accounts.credentials import Credential
from worker.ledger.ledger import LEASE_MARGIN_MS, Ledger
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import State
from worker.ledger.model.submissions import NewJob

TOKEN = "nmv_usr_registered_for_tests"

LEASE_SECONDS = 6
"""Long enough that a worker on a busy machine keeps its leases and gets few wake-ups twice."""

FAST = {
    "REELQUEUE_TICK_SECONDS": "0.1",
    "REELQUEUE_LEASE_SECONDS": str(LEASE_SECONDS),
    "REELQUEUE_RENDER_POLL_SECONDS": "0.3",
    "REELQUEUE_SETTLE_FIRST_SECONDS": "0.3",
    "REELQUEUE_SETTLE_SECONDS": "0.3",
    "REELQUEUE_STREAM_TIMEOUT_SECONDS": "20",
    "REELQUEUE_STREAM_IDLE_SECONDS": "10",
    "REELQUEUE_RATE_LIMIT_SECONDS": "0.5",
    "REELQUEUE_BALANCE_SECONDS": "1",
    "REELQUEUE_CONCURRENCY": "50",
}
QUICK_SANDBOX = (
    *("--stream-seconds", "0.2-0.5", "--heartbeat-seconds", "0.1"),
    *("--render-seconds", "0.2", "--clip-height", "64"),
)


class Stack:
    """The servers and workers of a test, which end with it."""

    def __init__(self, folder: Path, resources: ExitStack, *, on_disk: bool = False) -> None:
        """Start Valkey. ``on_disk`` keeps its data on a disk, where each fsync takes time."""
        self.folder = folder
        self._resources = resources
        if on_disk:
            self.valkey = Valkey(folder / "valkey").start()
            resources.callback(self.valkey.stop)
        else:
            self.valkey = resources.enter_context(valkey_in_memory(folder / "valkey"))
        self.redis: Redis = resources.enter_context(self.valkey.client())
        self.ledger = Ledger(self.redis, "rq", lease_seconds=LEASE_SECONDS)
        self.workers: list[Process] = []
        self.env: dict[str, str] = {}
        self.images = 0

    def start_sandbox(self, *flags: str, credits_given: int = 1_000_000) -> Sandbox:
        """Start the stand-in with one registered account."""
        self.sandbox = Sandbox(
            self.folder / "sandbox", "--account", f"{TOKEN}={credits_given}", *QUICK_SANDBOX, *flags
        )
        self._resources.callback(self.sandbox.stop)
        self.env = {**FAST, **self.addresses(self.sandbox.url)}
        return self.sandbox

    def addresses(self, api_url: str) -> dict[str, str]:
        """Return the settings that name the servers and the folders of this stack."""
        return {
            "NEMO_API_URL": api_url,
            "NEMO_TOKEN": TOKEN,
            "REDIS_URL": self.valkey.url,
            "REELQUEUE_MEDIA_URL": (self.folder / "media").as_uri(),
            "REELQUEUE_OUTPUT_URL": (self.folder / "output").as_uri(),
            "REELQUEUE_MEDIA_ROOTS": str(self.folder),
        }

    def start_worker(self, *flags: str, **env: str) -> Process:
        """Start another worker, and wait until it is registered."""
        worker = self.start_doomed_worker(*flags, **env)
        assert worker.alive, worker.text()
        return worker

    def start_doomed_worker(self, *flags: str, **env: str) -> Process:
        """Start another worker, and wait until it is registered or dead."""
        name = f"w{len(self.workers)}"
        worker = self._launch(name, {**self.env, **env}, *flags)
        self._resources.callback(worker.stop)
        self.workers.append(worker)

        def registered() -> bool:
            names = self.redis.zrange("workers:{rq}", 0, -1)
            return any(str(found).startswith(f"{name}@") for found in names)

        wait_until(lambda: registered() or not worker.alive, f"worker {name} to register")
        return worker

    def _launch(self, name: str, env: dict[str, str], *flags: str) -> Process:
        return Worker(name, self.folder / f"{name}.log", env, *flags)

    def age_by_a_lease(self) -> None:
        """Make the records as old as if a lease had passed in which no worker was alive.

        A test need not wait for the leases of its dead workers.
        """
        assert not any(worker.alive for worker in self.workers)
        passed, agenda = self.ledger.lease_ms + LEASE_MARGIN_MS, self.ledger.key("agenda")
        for job_id in map(str, self.redis.zrange(agenda, 0, -1)):
            self.redis.zincrby(agenda, -passed, job_id)
            for field in ("lease", "sent_at"):
                if self.redis.hexists(self.ledger.key("job", job_id), field):
                    self.redis.hincrby(self.ledger.key("job", job_id), field, -passed)
        for slots in self.redis.scan_iter(self.ledger.key("slots", "*")):
            for call in map(str, self.redis.zrange(slots, 0, -1)):
                self.redis.zincrby(slots, -passed, call)
        # The lease of the worker that dispatches. Without a last tick, Redis was not away.
        self.redis.delete(self.ledger.key("ticker"))
        self.redis.hdel(self.ledger.key("meta"), "last_tick")

    def allow_in_flight(self, messages: int) -> None:
        """Let the account have this many messages in flight, as after many that it accepted."""
        account = f"account-{Credential('', SecretStr(TOKEN), anonymous=False).token_id}"
        self.redis.hset(self.ledger.key("account", account), "window", messages)

    def image(self, name: str | None = None, color: int | None = None) -> Path:
        """Write a small picture with unique content.

        Its stripes show the motion of a clip: where none is clear, a worker checks many frames.
        """
        self.images += 1
        path = self.folder / (name or f"photo{self.images}.png")
        color = self.images if color is None else color
        shade = (color % 256, color // 256 % 256, 90)
        picture = Image.new("RGB", (80, 64), shade)
        for left in range(0, 80, 20):
            picture.paste((250, 250, 250), (left, 0, left + 10, 64))
        picture.save(path)
        return path

    def submit(self, path: Path, **payload: Any) -> str:
        """Submit a picture by its path; return the ID of the job."""
        job_id = f"job-{path.stem}"
        fields = {"image": str(path), "prompt": "a 1-second slow push-in", "language": "en"}
        self.ledger.submit(NewJob(id=job_id, payload={**fields, **payload}, fingerprint=path.stem))
        return job_id

    def job(self, job_id: str) -> Job:
        """Return the record of a job."""
        job = self.ledger.job(job_id)
        assert job is not None
        return job

    def wait_for(self, job_id: str, *states: State, limit: float = 120) -> Job:
        """Wait until a job is in one of these states, and return its record.

        Raises:
            AssertionError: It ended in another state, or the limit (seconds) is over.
        """

        def arrived() -> bool:
            state = self.job(job_id).state
            assert state in states or not state.is_end, self.diagnosis(job_id)
            return state in states

        what = f"{job_id} to be {' or '.join(states)}"
        wait_until(arrived, what, limit, lambda: self.diagnosis(job_id))
        return self.job(job_id)

    def diagnosis(self, job_id: str) -> str:
        """Return a job's record, the accounts, and the ends of the workers' logs, for a failure."""
        record = self.redis.hgetall(self.ledger.key("job", job_id))
        agenda = self.redis.zrange(self.ledger.key("agenda"), 0, -1, withscores=True)
        lines = [f"now {self.ledger.now_ms()}", f"record {record}", f"agenda {agenda}"]
        return "\n".join([*lines, *self._accounts(), self._logs()])

    def _accounts(self) -> list[str]:
        return [
            f"{key} {self.redis.hgetall(key)}" for key in self.redis.scan_iter("account:{rq}:*")
        ]

    def _logs(self) -> str:
        return "\n".join(worker.text()[-6000:] for worker in self.workers)

    def wait_until_idle(self, limit: float = 120) -> dict[State, int]:
        """Wait until no job is queued or running, and return how many are in which state."""
        return self.wait_for_counts(is_idle, "all jobs to end or to be held", limit)

    def wait_for_counts(
        self, are_reached: Callable[[dict[State, int]], bool], what: str, limit: float = 120
    ) -> dict[State, int]:
        """Wait until as many jobs are in each state as wanted, and return how many are.

        It fails when no job has changed its state for ``limit`` seconds, however long all of them
        take: how much processor time they get depends on what else runs on the machine.
        """
        seen: dict[State, int] | None = None

        def changed() -> list[dict[State, int]]:
            counts = self.ledger.counts()[0]
            return [counts] if counts != seen or are_reached(counts) else []

        def explain() -> str:
            return "\n".join([describe(self), *self._accounts(), self._logs()])

        while seen is None or not are_reached(seen):
            seen = wait_until(changed, what, limit, explain)[0]
        return seen

    def messages_of(self, job: Job) -> list[dict[str, object]]:
        """Return the messages that were sent in a job's session."""
        session_id = job.fact("session_id")
        return [m for m in self.sandbox.ledger()["messages"] if m["session_id"] == session_id]

    def renders_of(self, job: Job) -> list[dict[str, object]]:
        """Return the renders of a job's session."""
        session_id = job.fact("session_id")
        return [r for r in self.sandbox.ledger()["renders"] if r["session_id"] == session_id]

    def messages_by_image(self) -> dict[str, int]:
        """Return the number of charged messages for each uploaded picture, by its SHA-256."""
        ledger = self.sandbox.ledger()
        content = {upload["session_id"]: upload["sha256"] for upload in ledger["uploads"]}
        paid: dict[str, int] = {}
        for message in ledger["messages"]:
            if message["charged"]:
                sha = str(content[message["session_id"]])
                paid[sha] = paid.get(sha, 0) + 1
        return paid


@contextmanager
def temporary_stack() -> Iterator[Stack]:
    """Run a stack in a temporary folder on disk, for a measurement."""
    with ExitStack() as resources:
        folder = resources.enter_context(tempfile.TemporaryDirectory(prefix="reelqueue-bench-"))
        yield Stack(Path(folder), resources, on_disk=True)


def is_idle(counts: dict[State, int]) -> bool:
    """Return whether all jobs have ended or are held, from how many are in which state."""
    return all(state.is_end or state is State.HELD for state in counts)


def describe(stack: Stack) -> str:
    """Return how many jobs are in which state, and held for which reason, as JSON."""
    states, reasons = stack.ledger.counts()
    return json.dumps({str(name): n for name, n in [*states.items(), *reasons.items()]})
