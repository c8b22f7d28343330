"""The fault campaign: ``python -m tests.faults.campaign``.

Real workers, a real Valkey and the stand-in, with a misbehaving network between them. Faults
strike at random, by a printed seed, while jobs are submitted; when everything has settled, the
invariants of the design are checked against the ledgers of both sides. Exit status 1: one broke.
"""

import argparse
import hashlib
import heapq
import itertools
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from celery import Celery
from kombu.exceptions import OperationalError
from PIL import Image
from redis import Redis
from redis.exceptions import RedisError

from tests.faults.evidence import Evidence, Sample, gather, sample
from tests.faults.invariants import violations
from tests.faults.plan import Plan
from tests.faults.proxy import Condition, Proxy
from tests.faults.report import Run, show
from tests.faults.takeovers import Outage
from tests.support.processes import Process, Sandbox, Worker
from tests.support.valkey import Valkey
from tests.support.waiting import wait_until
from worker.faultpoints import VARIABLE
from worker.ledger.ledger import Ledger
from worker.ledger.model.states import Reason, State
from worker.ledger.model.submissions import NewJob

TOKEN: Final = "nmv_usr_registered_for_the_campaign"
WORKERS: Final = 6
MINIMUM_READY: Final = 3
"""No fault ends or freezes a worker while only so many are ready: somebody must be there to
take over, or it is the start of Celery that is measured."""
LEASE_SECONDS: Final = 9.0
"""The shortest whose third is still a patience with Redis that settings allow: all waits stand to
each other as they do by default."""
LOOP_SECONDS: Final = 0.2
DISTURBED_SECONDS: Final = 2.0
HALF_OPEN_SECONDS: Final = 12.0
RECONNECT_SECONDS: Final = LEASE_SECONDS / 3
"""The patience with a silent Redis, after which a worker connects anew."""
SETTLING_SECONDS: Final = 900
WAKEUPS: Final = "rq.wakeups"

WORKER_SETTINGS: Final = {
    "REELQUEUE_CONCURRENCY": "24",
    "REELQUEUE_LEASE_SECONDS": f"{LEASE_SECONDS:g}",
    "REELQUEUE_TICK_SECONDS": "0.1",
    "REELQUEUE_BALANCE_SECONDS": "5",
    "REELQUEUE_RENDER_POLL_SECONDS": "0.5",
    "REELQUEUE_SETTLE_FIRST_SECONDS": "0.5",
    "REELQUEUE_SETTLE_SECONDS": "0.5",
    "REELQUEUE_STREAM_TIMEOUT_SECONDS": "8",
    "REELQUEUE_STREAM_IDLE_SECONDS": "5",
    "REELQUEUE_RATE_LIMIT_SECONDS": "0.5",
}
SANDBOX_FLAGS: Final = (
    *("--stream-seconds", "0.5-2", "--heartbeat-seconds", "0.1", "--render-seconds", "0.4"),
    *("--clip-height", "96", "--silent-ratio", "0.3", "--break-ratio", "0.03"),
)
API_FAULTS: Final = (
    {"call": "message", "action": "question", "ratio": 0.02},
    {"call": "message", "action": "refuse", "code": 429, "ratio": 0.01},
    {"call": "session", "action": "refuse", "code": 503, "ratio": 0.02},
    {"call": "state", "action": "reset", "ratio": 0.02},
    {"call": "export", "action": "reset", "done": True, "ratio": 0.03},
    {"call": "download", "action": "cut", "ratio": 0.03},
)


class Campaign:
    """One run: its servers, its workers, and what was done to them."""

    def __init__(self, plan: Plan, folder: Path, stack: ExitStack) -> None:
        self.plan = plan
        self.rng = random.Random(plan.seed)
        self.folder = folder
        self.injected: Counter[str] = Counter()
        self.samples: list[Sample] = []
        self.inputs: dict[str, str] = {}
        self.outages: list[Outage] = []
        self.broken: list[str] = []
        self.released = 0
        self.began = time.monotonic()
        self._pause = threading.Event()
        self._scheduled: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._workers: list[Process] = []
        self._frozen: list[Process] = []
        self._terminating: list[Process] = []
        self._all: list[Process] = []
        self._numbers = itertools.count(1)

        self.valkey = Valkey(folder / "valkey").start()
        stack.callback(self.valkey.stop)
        self.redis = Redis.from_url(self.valkey.url, decode_responses=True, socket_timeout=2)
        stack.callback(self.redis.close)
        self.ledger = Ledger(self.redis, "rq", lease_seconds=LEASE_SECONDS)
        self.sandbox = Sandbox(
            folder / "sandbox",
            *("--account", f"{TOKEN}=100000000", "--seed", str(plan.seed), *SANDBOX_FLAGS),
        )
        stack.callback(self.sandbox.stop)
        self.sandbox.misbehave(*API_FAULTS)
        self.proxies = {
            "Redis": stack.enter_context(Proxy(self.valkey.port)),
            "API": stack.enter_context(Proxy(int(self.sandbox.url.rpartition(":")[2]))),
        }
        self.store, self.output = folder / "store", folder / "output"
        self.store.mkdir()
        self._point_output(self.store)
        self.celery = Celery(broker=self.valkey.url, set_as_current=False)
        self.celery.conf.broker_transport_options = {"socket_timeout": 2}
        stack.callback(self.celery.close)
        self.env = {
            **WORKER_SETTINGS,
            "NEMO_API_URL": f"http://127.0.0.1:{self.proxies['API'].port}",
            "NEMO_TOKEN": TOKEN,
            "REDIS_URL": f"redis://127.0.0.1:{self.proxies['Redis'].port}/0",
            "REELQUEUE_MEDIA_URL": (folder / "media").as_uri(),
            "REELQUEUE_OUTPUT_URL": self.output.as_uri(),
            "REELQUEUE_MEDIA_ROOTS": str(folder),
        }
        stack.callback(self._end_workers)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.began

    @property
    def _share(self) -> float:
        """The part of the jobs and of the hints' faults that is due by now; the end is for work."""
        return min(1.0, self.elapsed / (0.85 * self.plan.seconds))

    # --- the run ---------------------------------------------------------------------------

    def run(self) -> None:
        """Submit and strike until the time is over, then let everything settle."""
        self._replace_workers()
        wait_until(lambda: len(self._ready()) == WORKERS, "the first workers", 120)
        self.began = time.monotonic()
        for at, name in self.plan.schedule(self.rng):
            self._at(at, lambda name=name: self._inject(name))  # type: ignore[misc]
        while self.elapsed < self.plan.seconds or self._scheduled:
            self._replace_workers()
            while self._scheduled and self._scheduled[0][0] <= self.elapsed:
                heapq.heappop(self._scheduled)[2]()
            with suppress(RedisError, OperationalError):
                self._submit()
                self._duplicate_wakeups()
                self._drop_wakeups()
                self.samples.append(sample(self.ledger))
            self._pause.wait(LOOP_SECONDS)
        self._settle()

    def _settle(self) -> None:
        for proxy in self.proxies.values():
            proxy.set_condition(Condition.WELL)
            proxy.cut()

        def settled() -> bool:
            self._replace_workers()
            try:
                self._submit()
                self._release_poisoned()
                self.samples.append(sample(self.ledger))
                counts = self.ledger.counts()[0]
                ended = all(state.is_end or state is State.HELD for state in counts)
                return ended and not self.redis.zcard(self.ledger.key("outbox"))
            except RedisError:
                return False

        try:
            wait_until(settled, "every job to end", SETTLING_SECONDS)
        except AssertionError as error:
            self.broken.append(f"settling: {error}: {self.ledger.counts()[0]}")
        for worker in self._terminating:
            code = worker.wait(120)
            # One that was told before it listened for the word has had no work yet.
            if code and not (code == -signal.SIGTERM and " ready." not in worker.text()):
                self.broken.append(f"a worker that was told to end gave {code}: {worker.log}")
        self._end_workers()

    def _release_poisoned(self) -> None:
        """Innocent jobs may lose five workers in a row here: the way out is taken."""
        for job_id in self.ledger.held_ids(Reason.POISON):
            self.released += self.ledger.release(job_id, who="the campaign") == "OK"

    def _submit(self) -> None:
        """Submit as many as should be in by now; a submission that failed is repeated."""
        while len(self.inputs) < int(self.plan.jobs * self._share):
            number = len(self.inputs)
            path = self.folder / f"p{number}.png"
            if not path.exists():
                shade = (number % 256, number // 256 % 256, 90)
                Image.new("RGB", (32, 24), shade).save(path)
            payload = {"image": str(path), "prompt": "a 1-second push-in", "language": "en"}
            job_id = f"job-{number}"
            self.ledger.submit(NewJob(id=job_id, payload=payload, fingerprint=job_id))
            self.inputs[job_id] = hashlib.sha256(path.read_bytes()).hexdigest()

    def _duplicate_wakeups(self) -> None:
        """Deliver hints for jobs on the agenda two to five times."""
        wanted = int(self.plan.duplicated * self._share)
        while self.injected["wake-up messages duplicated"] < wanted:
            found = self.redis.zrandmember(self.ledger.key("agenda"))
            if found is None:
                return
            for _ in range(self.rng.randint(2, 5)):
                self.celery.send_task("tasks.render", args=[found], queue=WAKEUPS, retry=False)
                self.injected["wake-up messages duplicated"] += 1

    def _drop_wakeups(self) -> None:
        """Take hints out of the queue, when there are any."""
        wanted = int(self.plan.dropped * self._share)
        while self.injected["wake-up messages dropped"] < wanted:
            if self.redis.rpop(WAKEUPS) is None:
                return
            self.injected["wake-up messages dropped"] += 1

    # --- workers ---------------------------------------------------------------------------

    def _replace_workers(self) -> None:
        """See that nobody ended unasked, and start workers for those that went."""
        for worker in list(self._workers):
            if not worker.alive:
                self.broken.append(f"a worker ended by itself: {worker.log}")
                self._workers.remove(worker)
        while len(self._workers) < WORKERS:
            self._workers.append(self._start_worker())

    def _start_worker(self) -> Process:
        name = f"w{next(self._numbers)}"
        env = dict(self.env)
        if self.rng.random() < 0.2:
            env[VARIABLE] = f"store.write:before=full@{self.rng.randint(1, 8)}"
        worker = Worker(name, self.folder / f"{name}.log", env)
        self._all.append(worker)
        return worker

    def _ready(self) -> list[Process]:
        """Those that have got so far as to take work: one that only starts has nothing to lose."""
        awake = [worker for worker in self._workers if worker not in self._frozen]
        return [worker for worker in awake if " ready." in worker.text()]

    def _end_workers(self) -> None:
        for worker in self._workers + self._terminating:
            worker.stop()
        self._workers.clear()

    # --- faults ----------------------------------------------------------------------------

    def _at(self, moment: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._scheduled, (moment, next(self._order), action))

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        self._at(self.elapsed + seconds, action)

    def _inject(self, name: str) -> None:
        ready = self._ready()
        if "of a worker" in name and len(ready) <= MINIMUM_READY:
            self._after(LOOP_SECONDS, lambda: self._inject(name))
            return
        self.injected[name] += 1
        self._note_outage(name)
        side, _, how = name.partition(": connections ")
        match name:
            case "kill -9 of a worker":
                worker = self.rng.choice(ready)
                self._workers.remove(worker)
                worker.kill()
            case "SIGTERM of a worker":
                worker = self.rng.choice(ready)
                self._workers.remove(worker)
                self._terminating.append(worker)
                worker.terminate()
            case "SIGSTOP of a worker, longer than its lease":
                worker = self.rng.choice(ready)
                worker.freeze()
                self._frozen.append(worker)
                self._after(LEASE_SECONDS * self.rng.uniform(1.2, 2), lambda: self._resume(worker))
            case "Valkey killed and restarted":
                self.valkey.resume()
                self.valkey.stop()
                self.valkey.start()
            case "Valkey frozen":
                self.valkey.freeze()
                self._after(self.plan.frozen, self.valkey.resume)
            case "output store failing":
                nowhere = self.folder / "nowhere"
                nowhere.touch()
                self._point_output(nowhere)
                self._after(1.5, lambda: self._point_output(self.store))
            case _:
                self._disturb(self.proxies[side], how)

    def _note_outage(self, name: str) -> None:
        """Note how long a fault keeps workers from Redis: till they have connected anew."""
        lasts = {
            "Redis: connections cut": 0.0,
            "Redis: connections reset": 0.0,
            "Redis: connections slow": DISTURBED_SECONDS,
            "Redis: connections sliced": DISTURBED_SECONDS,
            "Redis: connections half-open": HALF_OPEN_SECONDS,
            "Valkey killed and restarted": 0.0,
            "Valkey frozen": self.plan.frozen,
        }
        if name in lasts:
            now = time.time()
            self.outages.append(Outage(now, now + lasts[name] + RECONNECT_SECONDS))

    def _disturb(self, proxy: Proxy, how: str) -> None:
        match how:
            case "cut" | "reset":
                proxy.cut(reset=how == "reset")
            case "slow" | "sliced":
                proxy.set_condition(Condition(how))
                self._after(DISTURBED_SECONDS, lambda: proxy.set_condition(Condition.WELL))
            case "half-open":
                proxy.set_condition(Condition.HALF_OPEN)
                self._after(DISTURBED_SECONDS, lambda: proxy.set_condition(Condition.WELL))
                self._after(HALF_OPEN_SECONDS, lambda: proxy.cut(reset=True))

    def _resume(self, worker: Process) -> None:
        self._frozen.remove(worker)
        if worker.alive:
            worker.thaw()

    def _point_output(self, target: Path) -> None:
        """Let the output's name lead elsewhere, at once."""
        link = self.folder / "output.new"
        link.symlink_to(target)
        os.replace(link, self.output)  # noqa: PTH105 - a link is replaced, not what it leads to

    # --- the end -----------------------------------------------------------------------------

    def evidence(self) -> Evidence:
        """What both sides have noted."""
        outside = self.sandbox.ledger_without_requests()
        hits = sum(worker.text().count(": full\n") for worker in self._all)
        self.injected["disk full while a clip or a poster was written"] = hits
        return gather(self.ledger, outside, self.store, self.inputs, self.samples)


def main() -> None:
    """Run one campaign, print its table, and exit with 1 when an invariant broke."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--seed", type=int, default=None, help="the same seed gives the same faults")
    add("--seconds", type=float, default=130)
    add("--jobs", type=int, default=500)
    add("--kills", type=int, default=50)
    add("--restarts", type=int, default=10)
    add("--duplicated", type=int, default=1000)
    add("--dropped", type=int, default=50)
    add("--frozen", type=float, default=6, help="seconds that Valkey stands still")
    add("--exclude", action="append", default=[], metavar="WORD", help="give no faults named so")
    add("--keep", type=Path, help="a folder that stays, with every log")
    asked = vars(parser.parse_args())
    keep: Path | None = asked.pop("keep")
    if asked["seed"] is None:
        asked["seed"] = random.SystemRandom().randrange(10**6)
    plan = Plan(excluded=tuple(asked.pop("exclude")), **asked)
    print(f"seed {plan.seed}", flush=True)  # noqa: T201 - it must be known if all else fails
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-")))
        folder.mkdir(parents=True, exist_ok=True)
        campaign = Campaign(plan, folder, stack)
        campaign.run()
        evidence = campaign.evidence()
        broken = [*campaign.broken, *violations(evidence)]
        run = Run(
            plan.seed,
            campaign.elapsed,
            LEASE_SECONDS,
            campaign.injected,
            campaign.released,
            campaign.outages,
        )
        show(run, evidence, broken)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
