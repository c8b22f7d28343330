"""A plain model of the ledger: what the scripts must answer, without Redis and without Lua.

It has jobs, turns, leases, one account and one batch with a budget. The scripts choose which queued
job is dispatched; the model only decides which choices are right.
"""

from dataclasses import dataclass, field

LEASE, MARGIN = 30_000, 1_000
COST, CAP, FIRST_WINDOW, BUDGET, CREDITS = 100, 3, 5, 300, 500
RUNNING = ("preparing", "generating", "settling", "rendering", "delivering")
ENDS = ("succeeded", "failed", "cancelled")
UNDECIDED = ("outcome_unknown", "session_lost", "question")


@dataclass
class ModelJob:
    """The fields of a job on which the answers depend."""

    id: str
    batch: str
    state: str = "queued"
    reason: str = ""
    resume: str = ""
    owner: str = ""
    nonce: str = ""
    committed: str = ""
    fence: int = 0
    lease: int = 0
    not_before: int = 0
    crashes: int = 0
    turn: int = 1
    cancel: bool = False
    as_done: bool = False
    draft: bool = False
    submitted: bool = False
    ever_paid: bool = False
    ever_ended: bool = False
    revision: int = 0
    content: str = ""
    replaced: bool = False
    calls: dict[int, str] = field(default_factory=dict)
    outcomes: dict[int, str] = field(default_factory=dict)
    released: set[str] = field(default_factory=set)

    @property
    def call(self) -> str | None:
        """The message of the current turn."""
        return self.calls.get(self.turn)

    @property
    def owned(self) -> bool:
        """Whether a step owns it."""
        return self.owner != ""

    def held_under(self, back: int = 0) -> str:
        """Return the fence of the claim, or an older one."""
        return f"{self.fence - back}:{self.nonce}"


@dataclass(frozen=True)
class End:
    """The arguments of a commit; the delay is in ms.

    `following` is the nonce of the claim for the next stage, or "".
    """

    state: str
    reason: str
    outcome: str
    delay: int
    following: str = ""


@dataclass
class Model:
    """All jobs, the account and the batch."""

    now: int = 1_000_000_000
    jobs: dict[str, ModelJob] = field(default_factory=dict)
    slots: dict[str, int] = field(default_factory=dict)
    reserved: set[str] = field(default_factory=set)
    ended: dict[str, int] = field(default_factory=dict)
    charged: set[str] = field(default_factory=set)
    base: int = CREDITS
    read_at: int = 1
    cooling: int = 0
    refusals: int = 0
    trying: int = 0
    window: float = FIRST_WINDOW
    threshold: float | None = None
    window_before: float | None = None
    recovered: int = 0
    suspect: str = ""
    suspect_until: int = 0
    paused: bool = False
    plan_refused: bool = False
    rows: dict[str, str] = field(default_factory=dict)
    polls: dict[str, int] = field(default_factory=dict)

    # --- a step --------------------------------------------------------------------------------

    def claim(self, job: ModelJob, owner: str, nonce: str) -> str:
        if job.state not in RUNNING:
            return "GONE"
        if (job.owner, job.nonce) == (owner, nonce):
            return "OK"
        if job.owned and job.lease > self.now:
            return "BUSY"
        if job.not_before > self.now:
            return "EARLY"
        crashes = job.crashes + job.owned
        if crashes >= 5:
            job.crashes, job.owner, job.nonce, job.lease = crashes, "", "", 0
            job.resume = job.state
            self.end_call(job.call)
            self._end_or_hold(job, "held", "poison")
            return "POISON"
        if crashes >= 2:
            if self.suspect not in ("", job.id) and self.suspect_until > self.now:
                job.crashes, job.owner, job.nonce, job.lease = crashes, "", "", 0
                return "EARLY"
            self.suspect, self.suspect_until = job.id, self.now + LEASE + MARGIN
        job.fence += 1
        job.owner, job.nonce, job.crashes, job.lease = owner, nonce, crashes, self.now + LEASE
        return "OK"

    def heartbeat(self, job: ModelJob, fence: str) -> bool:
        if not job.owned or job.held_under() != fence:
            return False
        job.lease = max(job.lease, self.now + LEASE)
        if job.call in self.slots:
            until = self.now + LEASE + MARGIN
            self.slots[job.call] = max(self.slots[job.call], until)
        if self.suspect == job.id:
            self.suspect_until = self.now + LEASE + MARGIN
        return True

    def commit(self, job: ModelJob, fence: str, nonce: str, end: "End") -> str:
        state, reason, outcome = end.state, end.reason, end.outcome
        if job.committed == nonce:
            return "OK"
        if not job.owned or job.held_under() != fence:
            return "LOST"
        call, owner = job.call, job.owner
        if job.cancel and not job.calls and state not in ENDS:
            state, reason, outcome = "cancelled", "", ""
        if reason == "outcome_unknown" and not call and not job.as_done:
            state, reason = "preparing", ""
        job.resume = job.state if state == "held" else job.resume
        job.committed, job.owner, job.nonce, job.lease = nonce, "", "", 0
        job.crashes, job.not_before = 0, self.now + end.delay
        if self.suspect == job.id:
            self.suspect = ""
        in_session = job.state in ("preparing", "generating", "settling")
        is_message_over = in_session and state not in ("generating", "settling")
        if call and (is_message_over or state == "held" or state in ENDS):
            self.end_call(call)
        if outcome:
            job.outcomes[job.turn] = outcome
            if outcome == "question":
                self.end_call(call)
                job.turn += 1
        if state == "held" or state in ENDS:
            self._end_or_hold(job, state, reason)
            return "OK"
        job.state, job.reason = state, ""
        if not end.following or state != end.state:
            if state == "rendering" and job.submitted and end.delay > 0:
                self.polls[job.id] = job.not_before
            return "OK"
        job.fence += 1
        job.owner, job.nonce, job.lease = owner, end.following, self.now + LEASE
        return "CLAIMED"

    def claim_polls(self, owner: str, nonce: str, most: int) -> list[str]:
        """Claim due polls, and return their jobs."""
        claimed: list[str] = []
        for name, at in sorted(self.polls.items(), key=lambda item: (item[1], item[0])):
            job = self.jobs[name]
            if at > self.now or len(claimed) == most:
                break
            is_poll = job.state == "rendering" and job.submitted and not job.owned
            if is_poll and job.not_before > self.now:
                self.polls[name] = job.not_before
                continue
            del self.polls[name]
            if is_poll and job.crashes < 2:
                job.fence += 1
                job.owner, job.nonce, job.lease = owner, nonce, self.now + LEASE
                claimed.append(name)
        return claimed

    def commit_poll(self, job: ModelJob, fence: str, delay: int) -> str:
        nonce = fence.partition(":")[2]
        if nonce and job.committed == nonce:
            return "OK"
        if not job.owned or job.held_under() != fence:
            return "LOST"
        if job.state != "rendering" or not job.submitted or job.cancel or job.crashes >= 2:
            return "OTHER"
        job.committed, job.owner, job.nonce, job.lease = nonce, "", "", 0
        job.crashes, job.not_before = 0, self.now + delay
        self.polls[job.id] = job.not_before
        return "OK"

    # --- payments ------------------------------------------------------------------------------

    def begin(self, job: ModelJob, fence: str, turn: int, call: str) -> str:
        if not job.owned or job.held_under() != fence:
            return "LOST"
        sent = job.calls.get(turn)
        if sent == call and turn == job.turn:
            return "OK"
        if sent:
            return "ALREADY"
        if call in job.released:
            return "LOST"
        if job.cancel:
            return "CANCELLED"
        if turn != job.turn:
            return "CLOSED"
        if turn > 1 and job.outcomes.get(turn - 1) not in ("question", "pay_again"):
            return "CLOSED"
        if self.cooling > self.now:
            return "COOLING"
        if self.base - COST * len(self.reserved) < COST:
            return "NO_CREDIT"
        if self.plan_refused:
            return "PLAN"
        if job.batch and self.committed(job.batch) + COST > BUDGET:
            return "BUDGET"
        most = min(CAP, int(self.window))
        if len(self.slots) >= most:
            self.slots = {name: until for name, until in self.slots.items() if until > self.now}
        if len(self.slots) >= most:
            return "NO_SLOT"
        if self.refusals:
            if self.trying > self.now:
                return "NO_SLOT"
            self.trying = self.now + LEASE + MARGIN
        self.slots[call] = self.now + LEASE + MARGIN
        self.reserved.add(call)
        job.calls[turn], job.outcomes[turn] = call, "sent"
        job.ever_paid = True
        return "OK"

    def committed(self, batch: str) -> int:
        """Return the cost of a batch's messages at the estimate."""
        return COST * sum(len(job.calls) for job in self.jobs.values() if job.batch == batch)

    def accepted(self) -> None:
        used, window = len(self.slots), int(self.window)
        if self.threshold is not None and self.window >= self.threshold:
            self.window += 1 / self.window if used >= window else 0
        else:
            self.window = max(self.window, min(self.window + 2, 2 * used))
        self.refusals = self.trying = 0

    def withdraw_intent(self, job: ModelJob, call: str) -> bool:
        turn = next((turn for turn, paid in job.calls.items() if paid == call), None)
        if turn is None:
            return call in job.released
        self.slots.pop(call, None)
        self.ended.pop(call, None)
        self.reserved.discard(call)
        del job.calls[turn]
        job.released.add(call)
        if turn == job.turn:
            del job.outcomes[turn]
        if job.state in ENDS:
            job.revision += 1
        is_held_for_it = job.reason in ("outcome_unknown", "session_lost") and turn == job.turn
        if job.state == "held" and is_held_for_it:
            self._resume(job, "preparing")
        return True

    def record_balance(self) -> None:
        """Read the balance now, when the API has charged all messages that had ended."""
        for call in [call for call, at in self.ended.items() if at < self.now]:
            if call in self.reserved:
                self.reserved.discard(call)
                self.charged.add(call)
            del self.ended[call]
        self.base, self.read_at = CREDITS - COST * len(self.charged), self.now

    def rate_limited(self, pause: int) -> None:
        if self.cooling <= self.now:
            self.refusals = (0 if self.now - self.cooling > 300_000 else self.refusals) + 1
            self.trying = 0
            if self.refusals > 1:
                if self.window_before is None:
                    self.window_before = self.window
                self.window = self.threshold = max(1, int(self.window / 2))
        self.cooling = max(self.cooling, self.now + pause)

    def grow_window(self) -> None:
        if self.window_before is None:
            return
        if self.now - max(self.cooling, self.recovered) < 60_000:
            return
        self.window = max(self.window, min(self.window_before, int(self.window) + 1))
        self.recovered = self.now
        if self.window >= self.window_before:
            self.window_before, self.recovered = None, 0

    # --- requests ------------------------------------------------------------------------------

    def cancel(self, job: ModelJob) -> str:
        if job.state in ENDS:
            return "ENDED"
        job.cancel = True
        if job.state != "held" and (job.owned or job.calls):
            return "CONTINUES" if job.calls else "REQUESTED"
        self.end_call(job.call)
        self._end_or_hold(job, "cancelled", "")
        return "CANCELLED"

    def submit_row(self, key: str, content: str, *, redo: bool) -> str:
        """Answer for a row with a key, without writing its new job."""
        if key not in self.rows:
            return "OK"
        job = self.jobs[self.rows[key]]
        if job.content == content:
            return "DUPLICATE"
        has_clip = job.state == "succeeded" or (job.state not in ENDS and bool(job.calls))
        if has_clip and not redo:
            return "KEPT"
        if not has_clip and job.state not in ENDS:
            self.cancel(job)
        job.replaced = True
        return "REMADE" if has_clip else "REPLACED"

    def release(self, job: ModelJob, mode: str) -> str:
        if job.state != "held":
            return "NOT_HELD"
        undecided = job.reason in UNDECIDED
        to = job.resume or "preparing"
        unknown = job.reason == "outcome_unknown" and job.calls
        if mode == "" and undecided and (job.call or unknown):
            return "NEEDS_CHOICE"
        if mode == "as_done":
            if not undecided or not job.calls:
                return "REFUSED"
            to, job.as_done = "settling", True
        if mode == "pay_again":
            if not undecided:
                return "REFUSED"
            if job.call:
                self.end_call(job.call)
                job.outcomes[job.turn] = "pay_again"
                job.turn += 1
            elif job.outcomes.get(job.turn - 1) == "question":
                job.outcomes[job.turn - 1] = "pay_again"
            to, job.draft, job.submitted, job.as_done = "preparing", False, False, False
        self._resume(job, to)
        return "OK"

    def retry(self, job: ModelJob) -> str:
        if job.state != "failed":
            return "NOT_FAILED"
        to = "preparing" if not job.call else "rendering" if job.draft else "settling"
        job.submitted = False
        self._resume(job, to)
        return "OK"

    # --- shared parts --------------------------------------------------------------------------

    def _end_or_hold(self, job: ModelJob, state: str, reason: str) -> None:
        job.state, job.reason = state, reason
        job.revision += 1
        job.ever_ended = job.ever_ended or state in ENDS

    def _resume(self, job: ModelJob, to: str) -> None:
        job.revision += 1
        job.not_before, job.crashes, job.reason, job.resume = 0, 0, "", ""
        if job.call and to in ("preparing", "generating"):
            to = "settling"
        job.state = "queued" if to in ("preparing", "generating") else to

    def end_call(self, call: str | None) -> None:
        if call is None:
            return
        self.slots.pop(call, None)
        if call in self.reserved:
            self.ended.setdefault(call, self.now)
