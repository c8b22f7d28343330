"""A whole stack on loopback: Valkey, the stand-in, and as many workers as a test wants."""

import json
import tempfile
from collections.abc import Iterator
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
from worker.ledger.ledger import Ledger
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import State
from worker.ledger.model.submissions import NewJob

TOKEN = "nmv_usr_registered_for_tests"

LEASE_SECONDS = 6
"""So long that a worker on a busy machine keeps its leases, and gets few wake-ups twice."""

FAST = {
    "REELQUEUE_TICK_SECONDS": "0.05",
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
    *("--render-seconds", "0.2", "--clip-height", "96"),
)


class Stack:
    """One test's servers and workers, all ended at its end."""

    def __init__(self, folder: Path, resources: ExitStack, *, on_disk: bool = False) -> None:
        """Start Valkey; ``on_disk`` puts its data on a disk, with the cost of each fsync."""
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
        self.env = {
            **FAST,
            "NEMO_API_URL": self.sandbox.url,
            "NEMO_TOKEN": TOKEN,
            "REDIS_URL": self.valkey.url,
            "REELQUEUE_MEDIA_URL": (self.folder / "media").as_uri(),
            "REELQUEUE_OUTPUT_URL": (self.folder / "output").as_uri(),
            "REELQUEUE_MEDIA_ROOTS": str(self.folder),
        }
        return self.sandbox

    def start_worker(self, *flags: str, **env: str) -> Process:
        """Start one more worker, and wait until it has announced itself."""
        name = f"w{len(self.workers)}"
        worker = Worker(name, self.folder / f"{name}.log", {**self.env, **env}, *flags)
        self._resources.callback(worker.stop)
        self.workers.append(worker)

        def announced() -> bool:
            names = self.redis.zrange("workers:{rq}", 0, -1)
            return any(str(found).startswith(f"{name}@") for found in names)

        wait_until(lambda: announced() or not worker.alive, f"worker {name} to announce itself")
        assert worker.alive, worker.text()
        return worker

    def allow_in_flight(self, messages: int) -> None:
        """Let the one account send this many messages at once, as after many that it accepted."""
        account = f"account-{Credential('', SecretStr(TOKEN), anonymous=False).token_id}"
        self.redis.hset(self.ledger.key("account", account), "window", messages)

    def image(self, name: str | None = None, colour: int | None = None) -> Path:
        """A small picture of its own content."""
        self.images += 1
        path = self.folder / (name or f"photo{self.images}.png")
        colour = self.images if colour is None else colour
        shade = (colour % 256, colour // 256 % 256, 90)
        Image.new("RGB", (80, 64), shade).save(path)
        return path

    def submit(self, path: Path, **payload: Any) -> str:
        """Enqueue one picture by its path."""
        job_id = f"job-{path.stem}"
        fields = {"image": str(path), "prompt": "a 1-second slow push-in", "language": "en"}
        self.ledger.submit(NewJob(id=job_id, payload={**fields, **payload}, fingerprint=path.stem))
        return job_id

    def job(self, job_id: str) -> Job:
        """The record."""
        job = self.ledger.job(job_id)
        assert job is not None
        return job

    def wait_for(self, job_id: str, *states: State, limit: float = 60) -> Job:
        """Wait until a job is in one of some states."""
        wait_until(
            lambda: self.job(job_id).state in states,
            f"{job_id} to be {' or '.join(states)}",
            limit,
            lambda: self.diagnosis(job_id),
        )
        return self.job(job_id)

    def diagnosis(self, job_id: str) -> str:
        """The job's record, the accounts, and the end of each worker's log."""
        record = self.redis.hgetall(self.ledger.key("job", job_id))
        agenda = self.redis.zrange(self.ledger.key("agenda"), 0, -1, withscores=True)
        lines = [f"now {self.ledger.now_ms()}", f"record {record}", f"agenda {agenda}"]
        lines += [
            f"{key} {self.redis.hgetall(key)}" for key in self.redis.scan_iter("account:{rq}:*")
        ]
        lines += ["".join(worker.text()[-6000:]) for worker in self.workers]
        return "\n".join(lines)

    def wait_until_idle(self, limit: float = 120) -> dict[State, int]:
        """Wait until nothing is queued or running; the counts."""

        def done() -> bool:
            counts = self.ledger.counts()[0]
            return all(state.is_end or state is State.HELD for state in counts)

        wait_until(done, "every job to end: " + describe(self), limit)
        return self.ledger.counts()[0]

    def messages_of(self, job: Job) -> list[dict[str, object]]:
        """What was said in a job's session."""
        session_id = job.fact("session_id")
        return [m for m in self.sandbox.ledger()["messages"] if m["session_id"] == session_id]

    def renders_of(self, job: Job) -> list[dict[str, object]]:
        """What was rendered of a job's session."""
        session_id = job.fact("session_id")
        return [r for r in self.sandbox.ledger()["renders"] if r["session_id"] == session_id]

    def messages_by_image(self) -> dict[str, int]:
        """Paid messages for each content that was uploaded, by the stand-in's own ledger."""
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
    """A stack in a folder that goes with it, for a measurement."""
    with ExitStack() as resources:
        folder = resources.enter_context(tempfile.TemporaryDirectory(prefix="reelqueue-bench-"))
        yield Stack(Path(folder), resources, on_disk=True)


def describe(stack: Stack) -> str:
    """What is going on, for the message of a wait that failed."""
    return json.dumps({state.value: n for state, n in stack.ledger.counts()[0].items()})
