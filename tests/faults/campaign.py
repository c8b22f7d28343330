"""The fault campaign: ``python -m tests.faults.campaign``.

Runs real workers, a real Valkey and the stand-in of the video API, with a TCP proxy in front of
both servers. While jobs are submitted, faults are injected at random moments, which the printed
seed decides. When all jobs have ended, the invariants are checked against the job records and the
ledger of the stand-in. The exit status is 1 if one of them is violated.
"""

import random
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from celery import Celery
from kombu.exceptions import OperationalError
from pydantic import SecretStr
from redis import Redis
from redis.exceptions import RedisError

from config.settings import Settings, StorageSettings
from tasks.producer.producer import Producer
from tests.faults.details import describe_unended, describe_violations
from tests.faults.evidence import Evidence, Sample, gather, sample
from tests.faults.injector import LEASE_SECONDS, Injector, OutputLink
from tests.faults.invariants import no_job_is_left_running, violations
from tests.faults.load import Load
from tests.faults.person import Person
from tests.faults.plan import BUSY_SHARE, Fault, Plan
from tests.faults.proxy import Condition, Proxy
from tests.faults.redis_server import RedisServer
from tests.faults.report import Run, show
from tests.faults.workers import WORKERS, WorkerPool
from tests.support.options import parse_options
from tests.support.processes import Sandbox
from tests.support.waiting import wait_until
from worker.journal.journal import Journal
from worker.ledger.ledger import Ledger
from worker.ledger.model.states import Reason, State
from worker.ledger.model.verdicts import ReleaseVerdict

OPTIONS: Final = {
    "seed": (
        random.SystemRandom().randrange(10**6),
        "the same seed injects the same faults at the same moments (default: a random one)",
    ),
    "seconds": (130.0, "time in which jobs are submitted and faults are injected"),
    "jobs": (500, "jobs to submit"),
    "kills": (50, "workers to kill; a tenth as many faults of most other kinds are injected"),
    "intake_kills": (2, "workers to kill while they take a submission by message"),
    "restarts": (4, "restarts of Valkey without a loss; a quarter as often it is frozen"),
    "losses": (2, "power cuts, restored copies, flushes and failovers of Valkey, each"),
    "refusals": (2, "how often Valkey is out of memory, and how often it is read only"),
    "duplicated": (1000, "wake-up messages to duplicate"),
    "dropped": (50, "wake-up messages to drop"),
    "doubled": (20, "submissions by message to send twice"),
    "decided": (2, "messages of unknown outcome that a person decides to pay again"),
    "freeze_seconds": (6.0, "how long Valkey is frozen"),
    "exclude": (
        "",
        "comma-separated words: faults with such a name are not injected (default: none)",
    ),
    "keep": (None, "a folder that is kept, with all logs (default: a temporary folder)"),
}
TOKEN: Final = "nmv_usr_registered_for_the_campaign"
LOOP_SECONDS: Final = 0.2
SETTLING_SECONDS: Final = 300
"""How long to wait for a further job to end before the campaign gives up.

A job waits for less here: for the lease of a worker that died, the end of a stream, a suspect that
runs alone, or the watch for other workers before a recovery, each of about one lease, and for the
repeats of a call, which start at one second and double. Hundreds of jobs do so at the same time.
"""

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
    """One run of a plan: its servers, workers, load and faults.

    Attributes:
        violations: What went wrong apart from the invariants, each in one line.
        unended: Why jobs may not have ended, in lines for the report.
        released: How many poison jobs were released.
    """

    def __init__(self, plan: Plan, folder: Path, stack: ExitStack) -> None:
        self.plan = plan
        self.violations: list[str] = []
        self.unended: list[str] = []
        self.released = 0
        self._samples: list[Sample] = []
        self._began = time.monotonic()
        self._pause = threading.Event()

        rng = random.Random(plan.seed)
        self._server = stack.enter_context(RedisServer(folder / "redis", rng))
        url = f"redis://127.0.0.1:{self._server.steady.port}/0"
        redis = Redis.from_url(url, decode_responses=True, socket_timeout=2)
        stack.callback(redis.close)
        self.ledger = Ledger(redis, "rq", lease_seconds=LEASE_SECONDS)
        self._sandbox = Sandbox(
            folder / "sandbox",
            *("--account", f"{TOKEN}=100000000", "--seed", str(plan.seed), *SANDBOX_FLAGS),
        )
        stack.callback(self._sandbox.stop)
        self._sandbox.inject_faults(*API_FAULTS)
        api_port = int(self._sandbox.url.rpartition(":")[2])
        self._api = stack.enter_context(Proxy(api_port))
        self._output = OutputLink(folder)
        broker = Celery(broker=url, set_as_current=False)
        # A publication that fails is repeated by the load, not by Celery.
        broker.conf.broker_transport_options = {"socket_timeout": 2, "max_retries": 1}
        stack.callback(broker.close)
        env = {
            **WORKER_SETTINGS,
            "NEMO_API_URL": f"http://127.0.0.1:{self._api.port}",
            "NEMO_TOKEN": TOKEN,
            "REDIS_URL": f"redis://127.0.0.1:{self._server.workers.port}/0",
            "REELQUEUE_MEDIA_URL": (folder / "media").as_uri(),
            "REELQUEUE_OUTPUT_URL": self._output.path.as_uri(),
            "REELQUEUE_MEDIA_ROOTS": str(folder),
        }
        self._workers = WorkerPool(folder, env, rng)
        stack.callback(self._workers.stop)
        self._load = Load(plan, rng, self.ledger, broker, folder)
        self._injector = Injector(
            plan,
            rng,
            redis=self._server,
            proxies={"Redis": self._server.workers, "API": self._api},
            workers=self._workers,
            output=self._output,
            on_loss=self._load.send_all_again,
        )
        storage = StorageSettings(
            media_url=env["REELQUEUE_MEDIA_URL"], output_url=env["REELQUEUE_OUTPUT_URL"]
        )
        address = Settings().redis.model_copy(update={"url": SecretStr(url)})
        self._person = Person(Producer.open(Settings(redis=address, storage=storage)), plan.decided)
        self._journal = Journal.open((folder / "media" / ".journal").as_uri(), "rq")

    @property
    def elapsed(self) -> float:
        """Seconds since the workers were ready."""
        return time.monotonic() - self._began

    def run(self) -> None:
        """Submit jobs and inject faults until the time is over, then wait for all jobs to end."""
        self._workers.replace()
        wait_until(lambda: len(self._workers.ready()) == WORKERS, "the first workers", 120)
        self._began = time.monotonic()
        self._injector.start()
        while self.elapsed < self.plan.seconds or not self._injector.finished:
            self._workers.replace()
            self._injector.run_due()
            # While Valkey is frozen, a call would keep this thread from resuming it.
            if not self._server.is_frozen:
                self._use_redis(min(1.0, self.elapsed / (BUSY_SHARE * self.plan.seconds)))
            self._pause.wait(LOOP_SECONDS)
        self._settle()

    def _use_redis(self, share: float) -> None:
        """Do what users and bad networks do, up to a share (0-1) of the plan."""
        with suppress(RedisError, OperationalError):
            self._load.submit(share)
            self._load.double(share)
            self._load.duplicate(share)
            self._load.drop(share)
            self._person.decide(share)
            self._samples.append(sample(self.ledger))

    def evidence(self) -> Evidence:
        """Return what Redis, the stand-in and the output store have recorded."""
        return gather(
            self.ledger,
            self._journal,
            sandbox_ledger=self._sandbox.ledger_without_requests(),
            output=self._output.store,
            inputs=self._load.pictures,
            samples=self._samples,
            submissions=self._load.by_message,
            decided=self._person.decided,
            has_lost_records=self._server.has_lost_records,
        )

    def result(self) -> Run:
        """Return what is reported besides the evidence."""
        by_workers = {
            "disk full while a clip or a poster was written": self._workers.full_disks(),
            Fault.INTAKE_KILLED: self._workers.intake_kills(),
        }
        return Run(
            seed=self.plan.seed,
            seconds=self.elapsed,
            lease=LEASE_SECONDS,
            faults={**self._injector.counts, **by_workers, **self._load.counts},
            lost=self._server.lost,
            released=self.released,
            adopted=self._workers.adoptions(),
            outages=self._injector.outages,
        )

    def details(self, evidence: Evidence, found: Sequence[str]) -> list[str]:
        """Return what helps to find the causes of violations."""
        unended = no_job_is_left_running.__name__ if self.unended else None
        others = [line for line in found if line.partition(":")[0] != unended]
        return [*describe_violations(evidence, self._journal, others), *self.unended]

    def _settle(self) -> None:
        for proxy in (self._server.workers, self._api):
            proxy.set_condition(Condition.NORMAL)
            proxy.cut()
        most, since = -1, time.monotonic()
        while pending := self._pending():
            ended = self._ended_jobs()
            if ended > most:
                most, since = ended, time.monotonic()
            elif time.monotonic() - since > SETTLING_SECONDS:
                self.violations.append(f"settling: {pending}")
                self.unended += describe_unended(self.ledger, self._workers.ready())
                break
            self._pause.wait(LOOP_SECONDS)
        self._workers.check_terminated()
        self._workers.stop()
        self.violations += self._workers.violations

    def _ended_jobs(self) -> int:
        counts = self.ledger.counts()[0]
        return sum(n for state, n in counts.items() if state.is_end or state is State.HELD)

    def _pending(self) -> str:
        """Submit what is missing, release poison jobs, and return what has not ended yet, or ""."""
        self._workers.replace()
        try:
            self._load.submit(1.0)
            # A job without a fault of its own may lose five workers in a row in a campaign.
            for job_id in self.ledger.held_ids(Reason.POISON):
                verdict = self.ledger.release(job_id, who="the campaign")
                self.released += verdict is ReleaseVerdict.OK
            self._samples.append(sample(self.ledger))
            pending = self._unended_jobs() or self._load.untaken
        except (RedisError, OperationalError) as error:
            return f"Redis does not answer: {error!r}"
        return pending

    def _unended_jobs(self) -> str:
        counts = self.ledger.counts()[0]
        left = {s.value: n for s, n in counts.items() if not (s.is_end or s is State.HELD)}
        if left:
            return f"jobs do not end: {left}"
        untold = self.ledger.redis.zcard(self.ledger.key("outbox"))
        return f"notifications are not sent: {untold}" if untold else ""


def main() -> None:
    """Run one campaign, print its report, and exit with 1 if an invariant was violated."""
    options = vars(parse_options("tests.faults.campaign", __doc__, OPTIONS))
    keep: Path | None = options.pop("keep")
    excluded = tuple(filter(None, options.pop("exclude").split(",")))
    plan = Plan(**options, excluded=excluded)
    print(f"seed {plan.seed}", flush=True)  # noqa: T201 - to be known even if the campaign fails
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-")))
        folder.mkdir(parents=True, exist_ok=True)
        campaign = Campaign(plan, folder, stack)
        campaign.run()
        evidence = campaign.evidence()
        found = [*campaign.violations, *violations(evidence)]
        show(campaign.result(), evidence, found, campaign.details(evidence, found))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
