"""What was asked of the stand-in, told without any token."""

from collections import Counter, deque
from dataclasses import asdict, dataclass, field


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
    """A message, also one that was refused.

    Attributes:
        session_id: Its session.
        account: Name of the account that pays.
        text: The prompt.
        at: When it came, Unix seconds.
        ended_at: When its work ended.
        charged: Credits taken for it.
        outcome: `running`, then `clean`, `silent`, `question`, `error`, `quota`, `broken`,
            `cancelled` or `refused`.
        overlapping: It came while another one ran in its session.
        image_sha256: The picture that it works on.
    """

    session_id: str
    account: str
    text: str
    at: float
    ended_at: float | None = None
    charged: int = 0
    outcome: str = "running"
    overlapping: bool = False
    image_sha256: str | None = None


@dataclass(slots=True, kw_only=True)
class RenderEntry:
    """An export and what became of it."""

    id: str
    session_id: str
    submitted_at: float
    completed_at: float | None = None
    status: str = "pending"
    polls: list[float] = field(default_factory=list)
    downloads: int = 0


@dataclass(slots=True, kw_only=True)
class RequestEntry:
    """One call; `status` is None while it runs, 0 when its connection was dropped."""

    at: float
    call: str
    headers_ok: bool
    status: int | None = None
    code: int | None = None


class CallLog:
    """Everything that happened, in order."""

    def __init__(self, requests_kept: int) -> None:
        self.sessions: list[SessionEntry] = []
        self.uploads: list[UploadEntry] = []
        self.messages: list[MessageEntry] = []
        self.renders: list[RenderEntry] = []
        self.requests: deque[RequestEntry] = deque(maxlen=requests_kept)
        self.calls: Counter[str] = Counter()
        # Download links carry their own permission; a token sent along has leaked.
        self.tokens_on_links = 0

    def request(self, entry: RequestEntry) -> None:
        """Remember a call; the entry is completed as the call goes on."""
        self.calls[entry.call] += 1
        self.requests.append(entry)

    def paid_messages(self) -> dict[str, int]:
        """Charged messages for each picture, by its SHA-256."""
        paid = (entry.image_sha256 for entry in self.messages if entry.charged)
        return dict(Counter(sha256 for sha256 in paid if sha256))

    def as_json(self, requests: int | None) -> dict[str, object]:
        """The ledger as JSON-ready values.

        Args:
            requests: How many of the latest calls to list; None lists all that are kept.
        """
        listed = list(self.requests)
        if requests is not None:
            listed = listed[len(listed) - min(requests, len(listed)) :]
        return {
            "sessions": [asdict(entry) for entry in self.sessions],
            "uploads": [asdict(entry) for entry in self.uploads],
            "messages": [asdict(entry) for entry in self.messages],
            "paid_messages": self.paid_messages(),
            "renders": [asdict(entry) for entry in self.renders],
            "calls": dict(self.calls),
            "requests": [asdict(entry) for entry in listed],
            "tokens_on_links": self.tokens_on_links,
        }
