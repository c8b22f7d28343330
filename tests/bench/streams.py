"""How many streams one worker process reads at the same time, how soon, and what each one holds.

Fills the queue with jobs whose pictures lie in the media store, starts a worker with many slots and
an account that may have as many messages in flight, and watches the worker and the lean backend
until all jobs have ended. The memory of a stream is that of the worker at its most streams, without
that of the worker before, for each stream; once clips are looked at, their frames count with it.
"""

import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from tests.bench.backend.stack import BenchStack, CpuCost, bench_stack
from tests.bench.report.goals import Goal
from tests.support.costs import RedisCost, tree_memory
from tests.support.processes import Process
from worker.ledger.model.states import State
from worker.ledger.model.submissions import NewJob
from worker.storage.store import Store

OPTIONS = {
    "jobs": (2000, "jobs in the queue when the worker starts"),
    "slots": (2500, "jobs that the worker runs at the same time (-c)"),
    "in_flight": (3000, "messages in flight that the account may have"),
    "stream_seconds": (30.0, "duration of a message's stream"),
    "goal": (1500, "streams to reach"),
    "pictures": (100, "different pictures in the media store"),
    "poll_seconds": (5.0, "seconds between two polls of a render"),
    "clip": ("flat", "the clip: flat, busy or small"),
    "most_kb": (0, "fail if a stream holds more kilobytes of the worker (0: no limit)"),
}
WATCH_SECONDS = 1.0
LIMIT_SECONDS = 600.0
MIN_RATE = 25.0
MAX_KB = 100.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen at one moment.

    Attributes:
        at: Seconds since the worker was ready.
        streams: Open streams.
        ended: Jobs that have ended.
        memory: Bytes of memory of the worker.
        sockets: Sockets that the worker holds.
        threads: Threads of the worker.
        cpu: CPU seconds of all processes since the worker was ready.
    """

    at: float
    streams: int
    ended: int
    memory: int
    sockets: int
    threads: int
    cpu: CpuCost


def run(options: Namespace, _folder: Path) -> Iterator[Table | str | Goal]:
    """Measure, and yield what is printed."""
    with bench_stack() as stack:
        flags = ("--stream-seconds", str(options.stream_seconds), "--clip", options.clip)
        stack.start_backend(*flags)
        fill_queue(stack, options.jobs, options.pictures)
        worker = stack.start_worker(
            *("-c", str(options.slots), "--loglevel", "warning"),
            REELQUEUE_CONCURRENCY=str(options.slots),
            REELQUEUE_ACCOUNT_IN_FLIGHT=str(options.in_flight),
            REELQUEUE_RENDER_POLL_SECONDS=str(options.poll_seconds),
        )
        redis = stack.redis_cost()
        seen = watch(stack, worker, options.jobs)
        yield report(seen, stack.redis_cost().since(redis), options)
        yield curve(seen)
        held = kb_a_stream(seen[0], most_streams(seen))
        assert not options.most_kb or held <= options.most_kb, f"{held:.0f} KB a stream"
        failed = options.jobs - stack.ledger.counts()[0].get(State.SUCCEEDED, 0)
        if failed:
            yield f"{failed} jobs have not succeeded\n{worker.text()[-3000:]}"
    yield from goals(seen, options)


def goals(seen: list[Sample], options: Namespace) -> Iterator[Goal]:
    """Yield the figures that have a goal."""
    first, last, most = seen[0], seen[-1], most_streams(seen)
    yield Goal("streams at the same time", most.streams, options.goal, is_least=True)
    what = f"jobs/s with streams of {options.stream_seconds:g} s"
    yield Goal(what, last.ended / last.at, MIN_RATE, is_least=True)
    yield Goal("KB of the worker for a stream", kb_a_stream(first, most), MAX_KB)


def fill_queue(stack: BenchStack, jobs: int, pictures: int) -> None:
    """Submit jobs over pictures that are in the media store."""
    media = Store(stack.env["REELQUEUE_MEDIA_URL"])
    keys = [media.put_content(stack.image(), ".png") for _ in range(min(jobs, pictures))]
    for number in range(jobs):
        payload = {
            "image": f"photo{number}.png",
            "media": keys[number % len(keys)],
            "prompt": "a 10-second slow push-in",
            "language": "en",
        }
        stack.ledger.submit(NewJob(id=f"job-{number}", payload=payload, fingerprint=str(number)))


def watch(stack: BenchStack, worker: Process, jobs: int) -> list[Sample]:
    """Look at the worker and the backend until all jobs have ended."""
    began, cpu = time.monotonic(), stack.cpu(worker)
    seen: list[Sample] = []
    while not seen or (seen[-1].ended < jobs and seen[-1].at < LIMIT_SECONDS and worker.alive):
        states = stack.ledger.counts()[0]
        seen.append(
            Sample(
                at=time.monotonic() - began,
                streams=stack.backend.counts()["streams"],
                ended=sum(number for state, number in states.items() if state.is_end),
                memory=tree_memory(worker.pid),
                sockets=_open_sockets(worker.pid),
                threads=len(list(Path(f"/proc/{worker.pid}/task").iterdir())),
                cpu=stack.cpu(worker).since(cpu),
            )
        )
        time.sleep(WATCH_SECONDS)
    return seen


def _open_sockets(pid: int) -> int:
    links = Path(f"/proc/{pid}/fd").iterdir()
    return sum(_target(link).startswith("socket:") for link in links)


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:  # it was closed meanwhile
        return ""


def report(seen: list[Sample], redis: RedisCost, options: Namespace) -> Table:
    """Build the table."""
    first, last = seen[0], seen[-1]
    most = most_streams(seen)
    reached = _first(seen, lambda sample: sample.streams >= options.goal)
    ramp = reached or most
    table = Table("what", "figure")
    for what, figure in {
        "jobs, slots, stream": f"{options.jobs}, {options.slots}, {options.stream_seconds:g} s",
        "most streams at the same time": str(most.streams),
        f"seconds to {options.goal} streams": f"{reached.at:.1f}" if reached else "never",
        "starts/s until then": f"{ramp.streams / max(ramp.at, 0.1):.1f}",
        "CPU ms of the worker for a start": _ms(ramp.cpu.worker, ramp.streams),
        "jobs/s": f"{last.ended / last.at:.1f}",
        "KB of the worker for a stream": f"{kb_a_stream(first, most):.0f}",
        "sockets and threads of the worker then": f"{most.sockets}, {most.threads}",
        "CPU ms a job: worker": _ms(last.cpu.worker, options.jobs),
        "Valkey": _ms(last.cpu.valkey, options.jobs),
        "backend": _ms(last.cpu.backend, options.jobs),
        "Redis commands, script calls a job": (
            f"{redis.commands / options.jobs:.0f}, {redis.scripts / options.jobs:.1f}"
        ),
        "Redis connections opened": f"{redis.connections:.0f}",
    }.items():
        table.add_row(what, figure)
    return table


def most_streams(seen: list[Sample]) -> Sample:
    """Return the first moment with the most streams."""
    return max(seen, key=lambda sample: sample.streams)


def kb_a_stream(before: Sample, held: Sample) -> float:
    """Return the kilobytes of the worker's memory for each stream that it holds."""
    return (held.memory - before.memory) / 1024 / max(1, held.streams - before.streams)


def curve(seen: list[Sample]) -> str:
    """Return the streams at some moments, one moment in five seconds."""
    moments = (_first(seen, lambda sample, at=at: sample.at >= at) for at in range(0, 600, 5))  # type: ignore[misc]
    return " ".join(f"{found.at:.0f}s:{found.streams}" for found in moments if found)


def _first(seen: list[Sample], fits: Callable[[Sample], bool]) -> Sample | None:
    return next(filter(fits, seen), None)


def _ms(seconds: float, number: int) -> str:
    return f"{1000 * seconds / max(1, number):.1f}"
