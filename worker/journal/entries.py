"""Entries of the payment journal: one small JSON object for each attempt to pay."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, Final, Self
from urllib.parse import quote, unquote

FORMAT: Final = 1


class Mark(StrEnum):
    """Why an attempt was certainly not charged."""

    NOT_CHARGED = "not_charged"  # the API refused the message in its direct reply
    NOT_SENT = "not_sent"  # its creator sent no byte of it
    NEVER_SENT = "never_sent"  # the attempt's entry is not that of this call, so nobody can send it


class UnreadableEntryError(Exception):
    """This version cannot read an entry. No other entry can be created for its attempt."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One attempt to pay for one turn of one job. No token is part of it.

    Attributes:
        job_id: The job.
        attempt: The attempt's number among all attempts of the job, from 1, whatever the turn.
        turn: The turn that is paid for.
        call: The id of the paid call. It has a random part.
        nonce: A random value that only the creating process knows.
        created_at: Milliseconds since the epoch, by the ledger's clock.
        account: The fingerprint of the account's token.
        session_id: The session in which the message is sent.
        task_id: The API's task id of the session.
        baseline: The fingerprint of the session's state before the message.
        price: Credits that were reserved.
        payload: The image job.
        fingerprint: The fingerprint of the payload.
        key: The caller's idempotency key, or "".
        priority: The priority of the job.
        batch_id: The batch, or "".
        row: The row in the batch's manifest.
        parent_id: The job whose clip this one edits or makes again, or "".
        follows: The job whose session this one continues, or "".
        shared: Whether the session is the batch's shared one.
        previous: The name of the entry of the message before this one in the session, or "".
        draft: The draft in the session before the message, if `previous` is set: the result of the
            message before.
        opened_by: The outcome of the turn before, which has opened this one: `question` or
            `pay_again`; "" for the first turn, and in entries of older versions.
        mark: `NEVER_SENT` if the entry was created to close its attempt.
    """

    job_id: str
    attempt: int
    turn: int
    call: str
    nonce: str
    created_at: int
    account: str
    session_id: str
    task_id: str
    baseline: str
    price: float
    payload: Mapping[str, Any]
    fingerprint: str
    key: str = ""
    priority: str = "normal"
    batch_id: str = ""
    row: int = 0
    parent_id: str = ""
    follows: str = ""
    shared: bool = False
    previous: str = ""
    draft: str = ""
    opened_by: str = ""
    mark: Mark | None = None

    @property
    def name(self) -> str:
        """The name of the entry in the journal: the job and the number of the attempt."""
        return entry_name(self.job_id, self.attempt)

    def to_json(self) -> bytes:
        """The entry as it is stored."""
        return _dump({"format": FORMAT, **asdict(self)})

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read a stored entry.

        Raises:
            UnreadableEntryError: The data is truncated, of another format, or no entry.
        """
        found = _load(data)
        try:
            known = {item.name: found[item.name] for item in fields(cls) if item.name in found}
            known["mark"] = Mark(known["mark"]) if known.get("mark") else None
            return cls(**known)
        except (TypeError, ValueError) as error:
            raise UnreadableEntryError(f"it is not an entry: {error}") from None


@dataclass(frozen=True, slots=True)
class End:
    """The end of a job that has paid.

    Attributes:
        job_id: The job.
        state: `succeeded`, `failed` or `cancelled`.
        facts: The fields of the record about the clip, its draft and the reason, as text.
        attempt: The last attempt that the record had as paid; 0 in ends of older versions.
    """

    job_id: str
    state: str
    facts: Mapping[str, str] = field(default_factory=dict)
    attempt: int = 0

    def is_before(self, attempt: int) -> bool:
        """Return whether the job was retried after this end, and has paid this attempt since."""
        return self.state == "failed" and 0 < self.attempt < attempt

    def to_json(self) -> bytes:
        """The end as it is stored."""
        return _dump({"format": FORMAT, **asdict(self)})

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read a stored end.

        Raises:
            UnreadableEntryError: The data is truncated, of another format, or no end.
        """
        found = _load(data)
        try:
            return cls(
                str(found["job_id"]),
                str(found["state"]),
                dict(found["facts"]),
                int(found.get("attempt", 0)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UnreadableEntryError(f"it is not an end: {error!r}") from None


def entry_name(job_id: str, attempt: int) -> str:
    """The name of an attempt's entry, unique in its namespace."""
    return f"{quote(job_id, safe='')}/{attempt}"


def split_name(name: str) -> tuple[str, int]:
    """Return the job and the number of the attempt that an entry's name consists of."""
    job, _, attempt = name.rpartition("/")
    return unquote(job), int(attempt)


def _dump(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )


def _load(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data.decode("utf-8", "surrogatepass"))
    except ValueError as error:
        raise UnreadableEntryError(f"it is not JSON: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise UnreadableEntryError("its format is not the one of this version")
    return found
