"""The job record as the service reads it: typed, frozen, refused when it makes no sense."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from worker.ledger.states import RUNNING, Reason, State

VERSION: Final = 1
FIRST_WINDOW: Final = 5
"""Messages in flight that an account begins with; the scripts have the same figure."""


Fields = Mapping[str, str]
UPGRADES: Final[dict[int, Callable[[Fields], Fields]]] = {}
"""From each older version of the record to the one after it. There is no older one yet."""


class UnreadableRecordError(Exception):
    """A record that this version cannot read: another version, cut short, or foreign."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One paid message of a job: what was intended, and what became of it.

    Attributes:
        number: Its place among the job's messages, from 1.
        call: Its call id.
        outcome: ``sent``, ``question``, ``done`` or ``pay_again``.
        cost: Credits: what it was charged, or the estimate.
        charged: Whether ``cost`` was told by the balance.
        before: The account's total as last read before it was sent; None where none was kept.
    """

    number: int
    call: str
    outcome: str
    cost: float
    charged: bool = False
    before: float | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One job. Times are milliseconds of the Redis server's clock; 0 is «not yet»."""

    id: str
    state: State
    payload: Mapping[str, Any]
    flow: str
    batch_id: str | None
    parent_id: str | None
    reason: Reason | None
    message: str
    remedy: str
    resume: str
    owner: str
    fence: int
    lease: int
    not_before: int
    crashes: int
    attempts: int
    turn: int
    turns: tuple[Turn, ...]
    sent_at: int
    cancel_requested: bool
    created_at: int
    started_at: int
    finished_at: int
    entered_at: int
    revision: int
    facts: Mapping[str, str]
    """Every other field: what the stages found out, as text."""

    @property
    def call(self) -> str | None:
        """The call id of the present turn's message, if there is one."""
        return next((turn.call for turn in self.turns if turn.number == self.turn), None)

    @property
    def is_bound(self) -> bool:
        """Whether money lies in the session: a message that no operator has given up.

        In the session of a follow-up it is that of the job that it follows.
        """
        return bool(self.fact("follows")) or any(t.outcome != "pay_again" for t in self.turns)

    @property
    def paid_messages(self) -> int:
        """Messages that were, or may have been, sent and charged."""
        return len(self.turns)

    def fact(self, name: str) -> str | None:
        """A fact, or None where it is missing or empty."""
        return self.facts.get(name) or None

    def number(self, name: str) -> int:
        """A fact that counts; 0 where it is missing."""
        return int(self.facts.get(name) or 0)

    def call_fact(self, name: str) -> str | None:
        """What is known of the present turn's message."""
        return self.fact(f"fact:{self.call}:{name}") if self.call else None

    @property
    def milliseconds_in(self) -> dict[State, int]:
        """Time spent in each state that was left."""
        return {
            State(name.removeprefix("ms:")): int(value)
            for name, value in self.facts.items()
            if name.startswith("ms:")
        }


_OWN: Final = frozenset(
    {
        *("v", "id", "payload", "flow", "batch", "parent", "created_at", "started_at"),
        *("state", "entered_at", "finished_at", "revision", "reason", "message", "remedy"),
        *("resume", "owner", "nonce", "fence", "lease", "not_before", "crashes", "attempts"),
        *("turn", "sent_at", "cancel_requested"),
    }
)


def upgraded(fields: Mapping[str, str]) -> Mapping[str, str]:
    """The record in the form of this version, an older one brought up step by step.

    Raises:
        UnreadableRecordError: There is no way from its version to this one.
    """
    version = int(fields["v"])
    while version != VERSION:
        if version not in UPGRADES:
            raise UnreadableRecordError(f"record version {fields['v']}, this is {VERSION}")
        version += 1
        fields = {**UPGRADES[version - 1](fields), "v": str(version)}
    return fields


def read_job(fields: Mapping[str, str]) -> Job:
    """Read a record.

    Raises:
        UnreadableRecordError: The version is unknown, or a field is missing or malformed.
    """
    try:
        fields = upgraded(fields)
        payload = json.loads(fields["payload"])
        if not isinstance(payload, dict) or not isinstance(payload.get("image", ""), str):
            raise UnreadableRecordError("its payload is none")
        state = State(fields["state"])
        return Job(
            id=fields["id"],
            state=state,
            payload=payload,
            flow=fields["flow"],
            batch_id=fields.get("batch") or None,
            parent_id=fields.get("parent") or None,
            reason=Reason(fields["reason"]) if fields.get("reason") else None,
            message=fields.get("message", ""),
            remedy=fields.get("remedy", ""),
            resume=fields.get("resume", ""),
            owner=fields.get("owner", ""),
            fence=int(fields["fence"]),
            lease=_int(fields, "lease"),
            not_before=_int(fields, "not_before"),
            crashes=_int(fields, "crashes"),
            attempts=_int(fields, "attempts"),
            turn=int(fields["turn"]),
            turns=_turns(fields),
            sent_at=_int(fields, "sent_at"),
            cancel_requested=fields.get("cancel_requested") == "1",
            created_at=int(fields["created_at"]),
            started_at=_int(fields, "started_at"),
            finished_at=_int(fields, "finished_at"),
            entered_at=int(fields["entered_at"]),
            revision=_int(fields, "revision"),
            facts={name: value for name, value in fields.items() if name not in _OWN},
        )
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise UnreadableRecordError(f"{type(error).__name__}: {error}") from error


def read_or_remains(job_id: str, fields: Mapping[str, str]) -> Job:
    """Read a record; of one that cannot be read, what is left."""
    try:
        return read_job(fields)
    except UnreadableRecordError as error:
        return remains_of(job_id, fields, str(error))


def remains_of(job_id: str, fields: Mapping[str, str], why: str) -> Job:
    """A record that cannot be read, in lists: its id, its state if that is known, the reason."""
    state = fields.get("state", "")
    moments = {name: fields.get(name, "") for name in ("created_at", "entered_at")}
    return read_job(
        {
            **{name: value if value.isdecimal() else "0" for name, value in moments.items()},
            **dict.fromkeys(("fence", "turn"), "0"),
            "v": str(VERSION),
            "id": job_id,
            "state": state if state in set(State) else State.HELD,
            "payload": '{"image": ""}',
            "flow": "",
            "batch": fields.get("batch", ""),
            "reason": Reason.POISON,
            "message": f"This job's record cannot be read: {why}",
            "remedy": "Upgrade reelqueue to the version that wrote it, or restore the record.",
        }
    )


def _int(fields: Mapping[str, str], name: str) -> int:
    return int(fields.get(name) or 0)


def _float_or_none(text: str | None) -> float | None:
    return float(text) if text else None


def _turns(fields: Mapping[str, str]) -> tuple[Turn, ...]:
    return tuple(
        Turn(
            number=number,
            call=fields[f"call:{number}"],
            outcome=fields.get(f"outcome:{number}", "sent"),
            cost=float(fields.get(f"cost:{number}") or 0),
            charged=fields.get(f"charged:{number}") == "1",
            before=_float_or_none(fields.get(f"before:{number}")),
        )
        for number in range(1, int(fields["turn"]) + 1)
        if fields.get(f"call:{number}")
    )


@dataclass(frozen=True, slots=True)
class Account:
    """What is known of one account: its money in credits, its health and its pace. Times in ms.

    Attributes:
        name: The account.
        available: Free to spend, as last read.
        frozen: Reserved by the API for running work, as last read.
        total: Both.
        base: What our reservations are held against.
        reserved: Our reservations: messages that run, or ended after the last reading.
        spent: What our messages have cost.
        estimate: What a clip was seen to cost; 0 until one was.
        read_at: When the balance was read; 0 before the first time.
        cooling_until: The account rests until then, after a 429.
        window: Messages in flight that it bears.
        refusals: 429s since a message was last accepted.
        refused: The API refused a message for want of credits, and the balance has not grown.
        distrust: Who met a refused token since the last good reading: ``job``, ``balance``.
        bind_id: What binds an anonymous account to a registered one.
    """

    name: str
    available: float
    frozen: float
    total: float
    base: float
    reserved: float
    spent: float
    estimate: float
    read_at: int
    cooling_until: int
    window: float
    refusals: int
    refused: bool
    distrust: str
    bind_id: str

    @property
    def is_read(self) -> bool:
        """Whether its balance is known."""
        return self.read_at > 0

    @property
    def headroom(self) -> float:
        """What may still be reserved."""
        return self.base - self.reserved

    def price(self, at_least: float) -> float:
        """What a clip is expected to cost: what was seen, and no less than the setting."""
        return max(at_least, self.estimate)

    def affords(self, at_least: float) -> int:
        """How many more clips can be paid, at a price of at least so much."""
        return 0 if self.refused else max(0, int(self.headroom // self.price(at_least)))


def read_account(name: str, fields: Mapping[str, str]) -> Account:
    """Read an account's record; of one that has none, nothing is held against it."""

    def number(field: str) -> float:
        return float(fields.get(field) or 0)

    return Account(
        name=name,
        available=number("available"),
        frozen=number("frozen"),
        total=number("total"),
        base=number("base"),
        reserved=number("reserved"),
        spent=number("spent"),
        estimate=number("estimate"),
        read_at=_int(fields, "read_at"),
        cooling_until=_int(fields, "cooling_until"),
        window=number("window") or FIRST_WINDOW,
        refusals=_int(fields, "refusals"),
        refused=bool(fields.get("refused_at_base")),
        distrust=fields.get("distrust", ""),
        bind_id=fields.get("bind_id", ""),
    )


@dataclass(frozen=True, slots=True)
class Pace:
    """What clips took lately, as rolling means in seconds, and how many jobs run at once.

    Attributes:
        clips: Clips that were ever made; with none, the seconds are 0.
        place_seconds: From admission to the settled draft: so long is one of the places taken.
        clip_seconds: From admission to the delivered clip.
        places: The jobs that the ticker admits at once; 0 while no worker ticks.
    """

    clips: int
    place_seconds: float
    clip_seconds: float
    places: int


TICKING_MS: Final = 30_000
"""A ticker that was silent for longer is not there."""


def read_pace(
    fields: Mapping[str, str], admit: str | None, last_tick: str | None, now: int
) -> Pace:
    """Read the rolling figures, and the ticker's own from its last round. Times in ms."""
    ticks = now - int(last_tick or 0) < TICKING_MS
    return Pace(
        clips=_int(fields, "clips"),
        place_seconds=float(fields.get("place_ms", 0)) / 1000,
        clip_seconds=float(fields.get("clip_ms", 0)) / 1000,
        places=int(admit or 0) if ticks else 0,
    )


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch and its counters, which always add up to its total."""

    id: str
    name: str
    sealed: bool
    paused: bool
    created_at: int
    counts: Mapping[State, int]
    held_by: Mapping[Reason, int]
    committed: float
    max_credits: float | None = None
    source: str = ""
    """Where its manifest lies; empty where that is not known."""
    webhook_error: str | None = None
    """Why a message of its end was given up."""
    blocked_by: str | None = None
    """The job over whose unknown outcome a shared session, and so the batch, stands still."""

    def may_spend(self, price: float) -> bool:
        """Whether its limit allows one more message at this price, in credits."""
        return self.max_credits is None or self.committed + price <= self.max_credits

    @property
    def total(self) -> int:
        """All jobs of the batch."""
        return sum(self.counts.values())

    @property
    def running(self) -> int:
        """Jobs on the agenda."""
        return sum(self.counts.get(state, 0) for state in RUNNING)

    @property
    def open(self) -> int:
        """Queued and running jobs."""
        return self.counts.get(State.QUEUED, 0) + self.running


def read_counts(fields: Mapping[str, str]) -> tuple[dict[State, int], dict[Reason, int]]:
    """The counters by state, and those of the held by reason; zeroes left out."""
    states = {
        State(name.removeprefix("n:")): int(value)
        for name, value in fields.items()
        if name.startswith("n:") and int(value)
    }
    reasons = {
        Reason(name.removeprefix("h:")): int(value)
        for name, value in fields.items()
        if name.startswith("h:") and int(value)
    }
    return states, reasons


def read_batch(batch_id: str, fields: Mapping[str, str]) -> Batch:
    """Read a batch record."""
    counts, held_by = read_counts(fields)
    return Batch(
        id=batch_id,
        name=fields.get("name", ""),
        sealed=fields.get("sealed") == "1",
        paused=fields.get("paused") == "1",
        created_at=_int(fields, "created_at"),
        counts=counts,
        held_by=held_by,
        blocked_by=fields.get("blocked_by") or None,
        committed=float(fields.get("committed") or 0),
        max_credits=_float_or_none(fields.get("max_credits")),
        source=fields.get("source", ""),
        webhook_error=fields.get("webhook_error") or None,
    )
