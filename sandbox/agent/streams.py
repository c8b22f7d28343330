"""Accepts messages, decides how each of them ends, and starts and cancels their runs."""

import asyncio

from sandbox.agent.events import EventWriter, ReplyStyle
from sandbox.agent.message_run import EventSink, MessageRun
from sandbox.clock import Clock
from sandbox.faults import Call, Fault
from sandbox.options import Options
from sandbox.responses import RefusalError
from sandbox.seeded_random import draw
from sandbox.state.call_log import CallLog, MessageEntry
from sandbox.state.projects import Project

_GUI_SHARE, _TRAILING_SHARE = 0.25, 0.1


class Streams:
    """All messages that run."""

    def __init__(self, options: Options, clock: Clock, log: CallLog) -> None:
        self._options = options
        self._clock = clock
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        """The number of messages that run."""
        return len(self._tasks)

    def accept(self, project: Project, text: str, fault: Fault | None) -> MessageRun:
        """Accept a message: reserve its price and decide how it ends.

        Raises:
            RefusalError: 429: another message runs in this session; 2001: too few credits.
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
            entry.end(entry.at, "refused")
            raise RefusalError(429, "a message is running in this session")
        price = self._options.edit_price if project.clip else self._options.price
        if not project.account.reserve(price):
            entry.end(entry.at, "refused")
            raise RefusalError(2001)
        project.busy = project.spoken = True
        if fault is None and self._draw("break", number) < self._options.break_ratio:
            fault = Fault(call=Call.MESSAGE, action="break")
        style = self._style(number, fault)
        clip = project.plan_clip(text)
        writer = EventWriter()
        return MessageRun(
            project=project,
            entry=entry,
            price=price,
            clip=clip,
            writer=writer,
            events=writer.events(style, clip),
            outcome=_outcome(style, fault),
            fault=fault,
            seconds=self._options.stream_seconds.at(self._draw("length", number)),
            heartbeat_seconds=self._options.heartbeat_seconds,
            clock=self._clock,
        )

    def start(self, run: MessageRun, sink: EventSink | None) -> None:
        """Start an accepted message."""
        task = run.start(sink)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Cancel all messages that run."""
        ending = list(self._tasks)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def _style(self, number: int, fault: Fault | None) -> ReplyStyle:
        if fault is not None and fault.action in set(ReplyStyle):
            return ReplyStyle(fault.action)
        if self._draw("silent", number) < self._options.silent_ratio:
            return ReplyStyle.SILENT
        share = self._draw("voice", number)
        if share < _GUI_SHARE:
            return ReplyStyle.GUI
        return ReplyStyle.TRAILING if share < _GUI_SHARE + _TRAILING_SHARE else ReplyStyle.PLAIN

    def _draw(self, what: str, number: int) -> float:
        return draw(self._options.seed, what, number)


def _outcome(style: ReplyStyle, fault: Fault | None) -> str:
    if fault is not None and fault.action == "reset":
        return "broken"
    return style.value if style in {ReplyStyle.SILENT, ReplyStyle.QUESTION} else "clean"
