"""Job records: reading the stored fields into a typed, frozen ``Job``."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from worker.ledger.model.fields import float_or_none, int_of, int_or_zero, timestamp_of
from worker.ledger.model.row_content import row_content
from worker.ledger.model.states import Reason, State

VERSION: Final = 2
MAX_TURNS: Final = 1000
"""A record with more turns than this counts as damaged."""

Fields = Mapping[str, str]


def _from_1(fields: Fields) -> Fields:
    """Add the content hash of a row of a batch, by which the row is recognized."""
    if not fields.get("batch") or fields.get("content") or fields.get("parent"):
        return fields
    payload = json.loads(fields["payload"])
    return {**fields, "content": row_content(payload)} if isinstance(payload, dict) else fields


UPGRADES: Final[dict[int, Callable[[Fields], Fields]]] = {1: _from_1}
"""For each older version of the record, what brings it to the next version."""


class UnreadableRecordError(Exception):
    """A record cannot be read: it has another version, is incomplete, or is something else."""


class NewerRecordError(UnreadableRecordError):
    """A newer version wrote the record: the workers of that version can read it."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One paid message of a job and its outcome.

    Attributes:
        number: The number of the turn, from 1.
        call: Its call id.
        outcome: ``sent``, ``question``, ``done`` or ``pay_again``.
        cost: Credits: what was charged, or the estimate.
        charged: Whether ``cost`` was charged, as the balance shows, and is no estimate.
        balance_before: The total last read before it was sent; None if it was not stored.
        nth: Its ordinal number among the messages of its account; 0 if that was not stored.
        uncounted_charges: Other messages of the account whose charge was not in ``balance_before``.
        attempt: The number of its entry in the payment journal; 0 if it has none.
        session_id: The session that it was sent in.
        previous: The journal entry before it in the session, as `<job id> <attempt>`, or "".
    """

    number: int
    call: str
    outcome: str
    cost: float
    charged: bool = False
    balance_before: float | None = None
    nth: int = 0
    uncounted_charges: int = 0
    attempt: int = 0
    session_id: str = ""
    previous: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """One job. Times are in ms of the Redis server's clock; 0 means not yet."""

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
    """All other fields, as text: what the stages found out."""

    @property
    def call(self) -> str | None:
        """The call id of the current turn's message, if there is one."""
        return None if self.message_turn is None else self.message_turn.call

    @property
    def message_turn(self) -> Turn | None:
        """The current turn, if it has a message."""
        return next((turn for turn in self.turns if turn.number == self.turn), None)

    @property
    def message_session(self) -> str:
        """The session in which the current turn's message was sent, or else the job's."""
        own = self.message_turn.session_id if self.message_turn else ""
        return own or self.facts.get("session_id", "")

    @property
    def decided_attempts(self) -> frozenset[int]:
        """The numbers of the attempts after which a question or a person opened a further turn."""
        opens_a_turn = ("question", "pay_again")
        earlier = (turn for turn in self.turns if turn.number < self.turn)
        return frozenset(turn.attempt for turn in earlier if turn.outcome in opens_a_turn)

    @property
    def last_attempt(self) -> int:
        """The number of the last attempt that was, or may have been, charged; 0 for none."""
        return max((turn.attempt for turn in self.turns), default=0)

    @property
    def is_bound(self) -> bool:
        """Whether the job must stay in its session, because a message was paid for in it.

        A message that an operator has given up does not count. A follow-up stays in the session
        of the job that it follows.
        """
        return bool(self.fact("follows")) or any(t.outcome != "pay_again" for t in self.turns)

    @property
    def paid_messages(self) -> int:
        """The number of messages that were, or may have been, sent and charged."""
        return len(self.turns)

    def fact(self, name: str) -> str | None:
        """Return a fact, or None if it is missing or empty."""
        return self.facts.get(name) or None

    def number(self, name: str) -> int:
        """Return a fact that is a whole number; 0 if it is missing or malformed."""
        return int_or_zero(self.facts.get(name))

    def call_fact(self, name: str) -> str | None:
        """Return a fact of the current turn's message, or None."""
        return self.fact(f"fact:{self.call}:{name}") if self.call else None

    @property
    def milliseconds_in(self) -> dict[State, int]:
        """The time spent in each state that the job has left."""
        return {
            state: int(self.facts[name]) for name, state in _SPENT.items() if name in self.facts
        }


_SPENT: Final[Mapping[str, State]] = {f"ms:{state}": state for state in State}
"""The fields of the time that was spent in each state."""
_OWN: Final = frozenset(
    {
        *("v", "id", "payload", "flow", "batch", "parent", "created_at", "started_at"),
        *("state", "entered_at", "finished_at", "revision", "reason", "message", "remedy"),
        *("resume", "owner", "nonce", "fence", "lease", "not_before", "crashes", "attempts"),
        *("turn", "sent_at", "cancel_requested"),
    }
)


def upgraded(fields: Mapping[str, str]) -> Mapping[str, str]:
    """Return the fields in the form of this version, upgraded one version at a time.

    Raises:
        UnreadableRecordError: There is no upgrade from the record's version.
    """
    version = int(fields["v"])
    while version != VERSION:
        if version not in UPGRADES:
            error = NewerRecordError if version > VERSION else UnreadableRecordError
            raise error(f"its version is {fields['v']}, this is version {VERSION}")
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
            raise UnreadableRecordError("its payload is not an object")
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
            lease=int_of(fields, "lease"),
            not_before=int_of(fields, "not_before"),
            crashes=int_of(fields, "crashes"),
            attempts=int_of(fields, "attempts"),
            turn=_turn(fields),
            turns=_turns(fields),
            sent_at=int_of(fields, "sent_at"),
            cancel_requested=fields.get("cancel_requested") == "1",
            created_at=timestamp_of(fields, "created_at"),
            started_at=timestamp_of(fields, "started_at"),
            finished_at=timestamp_of(fields, "finished_at"),
            entered_at=timestamp_of(fields, "entered_at"),
            revision=int_of(fields, "revision"),
            facts={name: value for name, value in fields.items() if name not in _OWN},
        )
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise UnreadableRecordError(f"{type(error).__name__}: {error}") from error


def read_job_or_placeholder(job_id: str, fields: Mapping[str, str]) -> Job:
    """Read a record, or return a placeholder if it cannot be read."""
    try:
        return read_job(fields)
    except UnreadableRecordError as error:
        return placeholder_job(job_id, fields, str(error))


def placeholder_job(job_id: str, fields: Mapping[str, str], why: str) -> Job:
    """Return a placeholder for a record that cannot be read, with its state if that is known."""
    state = fields.get("state", "")
    return read_job(
        {
            **{name: _timestamp_or_zero(fields, name) for name in ("created_at", "entered_at")},
            "fence": "0",
            "turn": "1",
            "v": str(VERSION),
            "id": job_id,
            "state": state if state in set(State) else State.HELD,
            "payload": '{"image": ""}',
            "flow": "",
            "batch": fields.get("batch", ""),
            "reason": Reason.POISON,
            "message": f"This job's record cannot be read: {why}",
            "remedy": unreadable_remedy(job_id),
        }
    )


def unreadable_remedy(job_id: str) -> str:
    """Return what people can do about a job whose record cannot be read."""
    return (
        "Upgrade reelqueue to the version that wrote it, or restore the record. Then run "
        f"`reelqueue release {job_id}`."
    )


def placeholder_for(job: Job, why: str) -> Job:
    """Return a placeholder for a job whose record was read but whose facts are malformed."""
    times = {"created_at": str(job.created_at), "entered_at": str(job.entered_at)}
    return placeholder_job(job.id, {"state": job.state, "batch": job.batch_id or "", **times}, why)


def _timestamp_or_zero(fields: Fields, name: str) -> str:
    try:
        return str(timestamp_of(fields, name))
    except ValueError:
        return "0"


def _turn(fields: Fields) -> int:
    turn = int(fields["turn"])
    if not 1 <= turn <= MAX_TURNS:
        raise ValueError(f"turn is {turn}")
    return turn


def _turns(fields: Fields) -> tuple[Turn, ...]:
    numbers = range(1, _turn(fields) + 1)
    return tuple([_read_turn(fields, number) for number in numbers if fields.get(f"call:{number}")])


def _read_turn(fields: Fields, number: int) -> Turn:
    call, outcome, cost, charged, before, nth, uncounted, attempt, session, previous = map(
        fields.get, turn_fields(number)
    )
    return Turn(
        number=number,
        call=call or "",
        outcome="sent" if outcome is None else outcome,
        cost=float_or_none(cost) or 0.0,
        charged=charged == "1",
        balance_before=float_or_none(before),
        nth=int(nth or 0),
        uncounted_charges=int(uncounted or 0),
        attempt=int(attempt or 0),
        session_id=session or "",
        previous=previous or "",
    )


@cache
def turn_fields(number: int) -> tuple[str, ...]:
    """Return the names of the fields of a turn."""
    names = (
        *("call", "outcome", "cost", "charged", "before", "nth", "unsettled", "attempt"),
        *("session", "previous"),
    )
    return tuple(f"{name}:{number}" for name in names)


ONE_TURN_FIELDS: Final = (*sorted(_OWN), *_SPENT, "line", *turn_fields(1))
"""All fields of a record with one turn, besides what the stages found out."""
