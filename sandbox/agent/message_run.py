"""Running messages: their pace, what they charge, and what a client sees of it."""

import asyncio
import itertools
from dataclasses import dataclass
from typing import Protocol

from sandbox.agent.events import HEARTBEATS, DraftStage, EventWriter, ReplyStyle, TimedEvent
from sandbox.clock import Clock
from sandbox.faults import Fault
from sandbox.options import Options
from sandbox.responses import RefusalError
from sandbox.seeded_random import draw
from sandbox.state.call_log import CallLog, MessageEntry
from sandbox.state.projects import Clip, Project

_GUI_SHARE, _TRAILING_SHARE = 0.25, 0.1
_FOREVER = 7 * 24 * 3600.0


class EventSink(Protocol):
    """Where a stream is written to."""

    async def write(self, data: bytes) -> None:
        """Send bytes; raises ConnectionError when the client is gone."""


@dataclass(slots=True)
class _Pace:
    """When things happen in a run: a start (loop time) and a length in seconds."""

    start: float
    length: float

    def moment(self, share: float) -> float:
        return self.start + self.length * share


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that is settled when a message is accepted.

    Attributes:
        project: Its session.
        entry: Its line in the ledger.
        price: Credits reserved for it.
        clip: What it makes.
        writer: Who writes its events.
        beats: Its events.
        outcome: How it ends when nothing goes wrong.
        fault: What is to go wrong.
        length: Seconds that it takes.
        heartbeat: Longest silence of its stream in seconds.
    """

    project: Project
    entry: MessageEntry
    price: int
    clip: Clip
    writer: EventWriter
    beats: list[TimedEvent]
    outcome: str
    fault: Fault | None
    length: float
    heartbeat: float


class Run:
    """One paid message at work.

    Attributes:
        over: Done when the client has nothing more to expect; True after a clean end, False
            when the connection is to be cut.
    """

    def __init__(self, plan: Plan, clock: Clock) -> None:
        self.over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[None] | None = None
        self._plan = plan
        self._clock = clock
        self._outcome = plan.outcome
        self._sink: EventSink | None = None
        self._heartbeats = itertools.cycle(HEARTBEATS)

    def start(self, sink: EventSink | None) -> None:
        """Begin the work. Without a sink it runs with nobody listening."""
        self._sink = sink
        self.task = asyncio.create_task(self._work())
        self.task.add_done_callback(self._close)

    def abandon(self) -> None:
        """The client went away before the end: the work is cancelled, and charged."""
        if self.task is not None and not self.over.done():
            self.task.cancel()

    def refuse(self) -> None:
        """It never began: nothing is charged."""
        self._plan.project.account.release(self._plan.price)
        self._plan.project.busy = False
        self._plan.entry.ended_at = self._clock.now()
        self._plan.entry.outcome = "refused"

    async def _work(self) -> None:
        await self._delay()
        pace = _Pace(asyncio.get_running_loop().time(), self._plan.length)
        strike = self._stream_fault()
        for beat in self._plan.beats:
            if strike is not None and beat.share > strike.at:
                await self._wait_until(pace.moment(strike.at))
                if await self._apply_fault(strike):
                    return
                if strike.seconds is not None:
                    pace = _rest_of(pace, strike)
                strike = None
            await self._wait_until(pace.moment(beat.share))
            self._update_draft(beat.stage)
            await self._send(beat.data)
        await self._wait_until(pace.moment(1.0))
        self._end(self._outcome)

    def _close(self, task: asyncio.Task[None]) -> None:
        # Also runs for a task that was cancelled before its first step.
        trouble = None if task.cancelled() else task.exception()
        self._end("cancelled")
        if not self.over.done():
            self.over.set_result(trouble is None and not task.cancelled())
        if trouble is not None and not isinstance(trouble, ConnectionError):
            raise trouble

    def _stream_fault(self) -> Fault | None:
        if self._plan.fault is None or self._plan.fault.action not in {"break", "error", "quota"}:
            return None
        return self._plan.fault

    async def _apply_fault(self, fault: Fault) -> bool:
        """Let a fault happen; True when the work ends with it."""
        if fault.action == "break":
            self._sink = None
            self._outcome = "broken"
            if fault.then == "stay":
                self._end("broken")
            self.over.set_result(fault.clean)
            return fault.then == "stay"
        trouble = (
            self._plan.writer.quota()
            if fault.action == "quota"
            else self._plan.writer.error(raw=fault.raw)
        )
        await self._send(trouble)
        self._end(fault.action)
        return True

    async def _delay(self) -> None:
        if self._plan.fault is None or self._plan.fault.action not in {"hang", "mute"}:
            return
        seconds = _FOREVER if self._plan.fault.seconds is None else self._plan.fault.seconds
        moment = asyncio.get_running_loop().time() + seconds
        if self._plan.fault.action == "mute":
            await asyncio.sleep(seconds)
        await self._wait_until(moment)

    async def _wait_until(self, moment: float) -> None:
        loop = asyncio.get_running_loop()
        heartbeat = self._plan.heartbeat
        while (left := moment - loop.time()) > 0:
            if self._sink is None or left <= heartbeat:
                await asyncio.sleep(left)
            else:
                await asyncio.sleep(heartbeat)
                await self._send(next(self._heartbeats))

    async def _send(self, data: bytes) -> None:
        if self._sink is not None:
            await self._sink.write(data)

    def _update_draft(self, stage: DraftStage | None) -> None:
        if stage is DraftStage.RAW:
            self._plan.project.show_raw(self._plan.clip)
        elif stage is DraftStage.FINISHED:
            self._plan.project.show_finished(self._plan.clip)

    def _end(self, outcome: str) -> None:
        if self._plan.entry.ended_at is not None:
            return
        self._plan.entry.ended_at = self._clock.now()
        self._plan.entry.outcome = outcome
        self._plan.entry.charged = self._plan.price
        self._plan.project.account.charge(self._plan.price)
        self._plan.project.busy = False


class Streams:
    """Starts messages and keeps those that run."""

    def __init__(self, options: Options, clock: Clock, log: CallLog) -> None:
        self._options = options
        self._clock = clock
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        """How many messages are at work."""
        return len(self._tasks)

    def begin(self, project: Project, text: str, fault: Fault | None) -> Run:
        """Accept a message: reserve its price and decide how it turns out.

        Raises:
            RefusalError: 429, one runs already in this session; 2001, not enough credits.
        """
        entry = MessageEntry(
            session_id=project.session_id,
            account=project.account.name,
            text=text,
            at=self._clock.now(),
            overlapping=project.busy,
            image_sha256=project.picture.sha256 if project.picture else None,
        )
        self._log.messages.append(entry)
        number = len(self._log.messages)
        if project.busy:
            self._refuse(entry)
            raise RefusalError(429, "a message is running in this session")
        price = self._options.edit_price if project.clip else self._options.price
        if not project.account.reserve(price):
            self._refuse(entry)
            raise RefusalError(2001)
        project.busy = project.spoken = True
        fault = fault or self._chance_break(number)
        style = self._voice(number, fault)
        clip = project.plan(text)
        writer = EventWriter()
        plan = Plan(
            project=project,
            entry=entry,
            price=price,
            clip=clip,
            writer=writer,
            beats=writer.beats(style, clip),
            outcome=_outcome(style, fault),
            fault=fault,
            length=self._options.stream_seconds.at(draw(self._options.seed, "length", number)),
            heartbeat=self._options.heartbeat_seconds,
        )
        return Run(plan, self._clock)

    def start(self, run: Run, sink: EventSink | None) -> None:
        """Let an accepted message begin."""
        run.start(sink)
        if run.task is not None:
            self._tasks.add(run.task)
            run.task.add_done_callback(self._tasks.discard)

    def _refuse(self, entry: MessageEntry) -> None:
        entry.ended_at = self._clock.now()
        entry.outcome = "refused"

    async def stop(self) -> None:
        """Cancel everything that runs."""
        ending = list(self._tasks)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def _chance_break(self, number: int) -> Fault | None:
        if draw(self._options.seed, "break", number) >= self._options.break_ratio:
            return None
        return Fault.model_validate({"call": "message", "action": "break"})

    def _voice(self, number: int, fault: Fault | None) -> ReplyStyle:
        if fault is not None and fault.action in set(ReplyStyle):
            return ReplyStyle(fault.action)
        if draw(self._options.seed, "silent", number) < self._options.silent_ratio:
            return ReplyStyle.SILENT
        manner = draw(self._options.seed, "style", number)
        if manner < _GUI_SHARE:
            return ReplyStyle.GUI
        return ReplyStyle.TRAILING if manner < _GUI_SHARE + _TRAILING_SHARE else ReplyStyle.PLAIN


def _outcome(style: ReplyStyle, fault: Fault | None) -> str:
    if fault is not None and fault.action == "reset":
        return "broken"
    return style.value if style in {ReplyStyle.SILENT, ReplyStyle.QUESTION} else "clean"


def _rest_of(pace: _Pace, fault: Fault) -> _Pace:
    """A pace at which what is left after a break takes the seconds that the fault names."""
    now = pace.moment(fault.at)
    length = (fault.seconds or 0.0) / max(1e-9, 1.0 - fault.at)
    return _Pace(now - length * fault.at, length)
