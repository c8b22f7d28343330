"""The log of all calls to the stand-in. It contains no token."""

from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from itertools import islice


@dataclass(slots=True, kw_only=True)
class SessionEntry:
    """A session that was opened."""

    session_id: str
    task_id: str
    account: str
    created_at: float


@dataclass(slots=True, kw_only=True)
class UploadEntry:
    """A file that was accepted."""

    session_id: str
    name: str
    bytes: int
    sha256: str
    kind: str
    at: float


@dataclass(slots=True, kw_only=True)
class MessageEntry:
    """A message, accepted or refused.

    Attributes:
        session_id: Its session.
        account: Name of its account.
        text: The prompt.
        at: When it arrived, in Unix seconds.
        overlapping: Whether it arrived while another one ran in its session.
        image_sha256: SHA-256 of the picture that it works on.
        ended_at: When its work ended.
        charged: Credits charged for it.
        outcome: `running`, then `clean`, `silent`, `question`, `error`, `quota`, `broken`,
            `cancelled` or `refused`.
    """

    session_id: str
    account: str
    text: str
    at: float
    overlapping: bool
    image_sha256: str | None
    ended_at: float | None = None
    charged: int = 0
    outcome: str = "running"

    def end(self, at: float, outcome: str, charged: int = 0) -> None:
        """Record the end of its work, the outcome, and the credits charged."""
        self.ended_at, self.outcome, self.charged = at, outcome, charged


@dataclass(slots=True, kw_only=True)
class RenderEntry:
    """An export with its result."""

    id: str
    session_id: str
    submitted_at: float
    completed_at: float | None = None
    status: str = "pending"
    polls: list[float] = field(default_factory=list)
    downloads: int = 0


@dataclass(slots=True, kw_only=True)
class RequestEntry:
    """A call; `status` is None while it runs and 0 if its connection was dropped."""

    at: float
    call: str
    headers_ok: bool
    status: int | None = None
    code: int | None = None


class CallLog:
    """All calls and their results, in order."""

    def __init__(self, requests_kept: int) -> None:
        self.sessions: list[SessionEntry] = []
        self.uploads: list[UploadEntry] = []
        self.messages: list[MessageEntry] = []
        self.renders: list[RenderEntry] = []
        self.requests: deque[RequestEntry] = deque(maxlen=requests_kept)
        self.calls: Counter[str] = Counter()
        # A download link grants access by itself: a token sent with it has leaked.
        self.tokens_on_links = 0

    def request(self, entry: RequestEntry) -> None:
        """Add a call; its entry is completed as the call goes on."""
        self.calls[entry.call] += 1
        self.requests.append(entry)

    def as_json(self, requests: int | None) -> dict[str, object]:
        """Return the log as JSON-ready values, with the latest `requests` calls (None: all)."""
        skipped = 0 if requests is None else max(0, len(self.requests) - requests)
        pictures = (entry.image_sha256 for entry in self.messages if entry.charged)
        return {
            "sessions": [asdict(entry) for entry in self.sessions],
            "uploads": [asdict(entry) for entry in self.uploads],
            "messages": [asdict(entry) for entry in self.messages],
            "paid_messages": dict(Counter(sha256 for sha256 in pictures if sha256)),
            "renders": [asdict(entry) for entry in self.renders],
            "calls": dict(self.calls),
            "requests": [asdict(entry) for entry in islice(self.requests, skipped, None)],
            "tokens_on_links": self.tokens_on_links,
        }
