"""Collects from the events of one message what its job needs."""

from collections import deque
from dataclasses import dataclass, field

from worker.nemo.streaming.events import End, Event, Heartbeat, StreamError, Text, ToolActivity

MAX_CHARACTERS = 65_536
"""The most characters of text that are kept. The oldest texts are dropped first."""

_TEMPORARY_ISSUE = "i encountered a temporary issue"


@dataclass(slots=True)
class Transcript:
    """The events of a message's stream so far.

    Attributes:
        tool_activity: Whether the agent used a tool.
        error: The first error that the stream reported.
        clean: Whether the stream ended cleanly; None while it runs.
        events: The number of events, heartbeats and the end included.
        heartbeats: How many of them were heartbeats.
        skipped: How many frames could not be read; known at the end.
    """

    tool_activity: bool = False
    error: StreamError | None = None
    clean: bool | None = None
    events: int = 0
    heartbeats: int = 0
    skipped: int = 0
    _texts: deque[str] = field(default_factory=deque, repr=False)
    _characters: int = field(default=0, repr=False)

    def add(self, event: Event) -> None:
        """Add the next event of the stream."""
        self.events += 1
        match event:
            case Text(text):
                self._add_text(text.strip())
            case ToolActivity():
                self.tool_activity = True
            case Heartbeat():
                self.heartbeats += 1
            case StreamError():
                self.error = self.error or event
            case End():
                self.clean, self.skipped = event.clean, event.skipped

    @property
    def reply(self) -> str:
        """The texts for the user, one paragraph each.

        Texts at the end that begin with "I encountered a temporary issue" are left out if a normal
        one precedes them. Source: docs/video-api.md, "The message stream".
        """
        texts = list(self._texts)
        normal = [text for text in texts if not text.lower().startswith(_TEMPORARY_ISSUE)]
        while normal and texts[-1] != normal[-1]:
            texts.pop()
        return "\n\n".join(texts)

    def _add_text(self, text: str) -> None:
        text = text[:MAX_CHARACTERS]
        if not text or (self._texts and self._texts[-1] == text):
            return
        self._texts.append(text)
        self._characters += len(text)
        while self._characters > MAX_CHARACTERS:
            self._characters -= len(self._texts.popleft())
