"""The run of one paid message: when its events are sent, and how it is charged."""

import asyncio
import itertools
from dataclasses import dataclass
from typing import Protocol

from sandbox.agent.events import HEARTBEATS, DraftStage, EventWriter, TimedEvent
from sandbox.clock import Clock
from sandbox.faults import Fault
from sandbox.state.call_log import MessageEntry
from sandbox.state.projects import Clip, Project

_FOREVER = 7 * 24 * 3600.0


class EventSink(Protocol):
    """Where a stream is written to."""

    async def write(self, data: bytes) -> None:
        """Send bytes.

        Raises:
            ConnectionError: The client has disconnected.
        """


@dataclass(kw_only=True)
class MessageRun:
    """A paid message that is being processed.

    Attributes:
        project: Its session.
        entry: Its entry in the call log.
        price: Credits reserved for it.
        clip: The clip that it makes.
        writer: The writer of its events.
        events: Its events, if no fault interferes.
        outcome: Its outcome, if no fault interferes.
        fault: The fault to apply.
        seconds: How long it takes.
        heartbeat_seconds: Longest silence of its stream.
        clock: The clock of the call log.
        stream_end: Set when the client has nothing more to expect: True after a clean end, False
            if the connection is to be cut.
    """

    project: Project
    entry: MessageEntry
    price: int
    clip: Clip
    writer: EventWriter
    events: list[TimedEvent]
    outcome: str
    fault: Fault | None
    seconds: float
    heartbeat_seconds: float
    clock: Clock

    def __post_init__(self) -> None:
        """Set the attributes that change during the run."""
        self.stream_end: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None
        self._action = self.fault.action if self.fault is not None else None
        self._sink: EventSink | None = None
        self._heartbeats = itertools.cycle(HEARTBEATS)

    def start(self, sink: EventSink | None) -> asyncio.Task[None]:
        """Start the work; without a sink, nothing is sent to a client."""
        self._sink = sink
        self._task = asyncio.create_task(self._work())
        self._task.add_done_callback(self._close)
        return self._task

    def cancel(self) -> None:
        """Cancel the work if the client has disconnected before its end. The message is charged."""
        if self._task is not None and not self.stream_end.done():
            self._task.cancel()

    def refuse(self) -> None:
        """Withdraw a message that has not started. Nothing is charged."""
        self.project.account.release(self.price)
        self.project.busy = False
        self.entry.end(self.clock.now(), "refused")

    async def _work(self) -> None:
        await self._delay()
        start, seconds = asyncio.get_running_loop().time(), self.seconds
        fault = self.fault if self._action in {"break", "error", "quota"} else None
        for event in self.events:
            if fault is not None and event.share > fault.at:
                await self._wait_until(start + seconds * fault.at)
                if await self._apply(fault):
                    return
                if fault.seconds is not None:
                    # The rest of the work takes as long as the fault says.
                    fault_moment = start + seconds * fault.at
                    seconds = fault.seconds / max(1e-9, 1.0 - fault.at)
                    start = fault_moment - seconds * fault.at
                fault = None
            await self._wait_until(start + seconds * event.share)
            self._update_draft(event.stage)
            await self._send(event.data)
        await self._wait_until(start + seconds)
        self._end(self.outcome)

    def _close(self, task: asyncio.Task[None]) -> None:
        # Also called for a task that was cancelled before its first step.
        error = None if task.cancelled() else task.exception()
        self._end("cancelled")
        if not self.stream_end.done():
            self.stream_end.set_result(error is None and not task.cancelled())
        if error is not None and not isinstance(error, ConnectionError):
            raise error

    async def _apply(self, fault: Fault) -> bool:
        """Apply a fault of the stream; return whether the work ends with it."""
        if fault.action == "break":
            self._sink = None
            self.outcome = "broken"
            if fault.then == "stay":
                self._end("broken")
            self.stream_end.set_result(fault.clean)
            return fault.then == "stay"
        quota = fault.action == "quota"
        await self._send(self.writer.quota() if quota else self.writer.error(raw=fault.raw))
        self._end(fault.action)
        return True

    async def _delay(self) -> None:
        if self.fault is None or self._action not in {"hang", "mute"}:
            return
        seconds = _FOREVER if self.fault.seconds is None else self.fault.seconds
        moment = asyncio.get_running_loop().time() + seconds
        if self._action == "mute":
            await asyncio.sleep(seconds)
        await self._wait_until(moment)

    async def _wait_until(self, moment: float) -> None:
        """Wait until a time of the loop's clock, and send heartbeats until then."""
        loop = asyncio.get_running_loop()
        heartbeat = self.heartbeat_seconds
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
            self.project.add_raw(self.clip)
        elif stage is DraftStage.FINISHED:
            self.project.finish(self.clip)

    def _end(self, outcome: str) -> None:
        if self.entry.ended_at is not None:
            return
        self.entry.end(self.clock.now(), outcome, charged=self.price)
        self.project.account.charge(self.price)
        self.project.busy = False
