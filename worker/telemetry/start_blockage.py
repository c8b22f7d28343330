"""Why no queued job has started for over a minute, in words for operators."""

from dataclasses import dataclass
from typing import Final

from worker.ledger.model.fields import int_or_zero
from worker.ledger.model.states import State
from worker.ledger.reader import Reader
from worker.runtime.worker_registry import live_entries

MIN_SECONDS: Final = 60.0
"""Shorter waits are normal, because paid messages take minutes."""
BLOCKAGES: Final = ("queue", "places", "streams", "preparing")
"""The limits on starts, as `due.lua` names the one that was reached."""


@dataclass(frozen=True, slots=True)
class StartBlockage:
    """For how long no job has started although jobs wait, and why."""

    seconds: float
    why: str

    def __str__(self) -> str:
        """Return both as a sentence."""
        return f"No job has started for {self.seconds:.0f} s: {self.why}"


def start_blockage(reader: Reader) -> StartBlockage | None:
    """Return why no queued job has started for over a minute; None if jobs start or none waits.

    Raises:
        RedisError: The server does not answer.
    """
    fields = ("blocked_since", "blocked_by", "blocked_source", "last_tick")
    since, by, source, last_tick = reader.redis.hmget(reader.key("meta"), *fields)
    now = reader.now_ms()
    silence = (now - int_or_zero(last_tick)) / 1000 if last_tick else 0.0
    if silence > MIN_SECONDS and any(reader.flows().values()):
        alive = reader.redis.zcount(reader.key("workers"), now, "+inf")
        why = "no worker dispatches jobs." if alive else "no worker is running."
        return StartBlockage(silence, why)
    blocked = (now - int_or_zero(since)) / 1000 if since else 0.0
    if blocked < MIN_SECONDS:
        return None
    return StartBlockage(blocked, _explain(reader, str(by), str(source or "")))


def _explain(reader: Reader, by: str, source: str) -> str:
    states = reader.counts()[0]
    preparing, generating = states.get(State.PREPARING, 0), states.get(State.GENERATING, 0)
    match by:
        case "preparing":
            slow = f", most of them waiting for {source}" if source else ""
            return f"{preparing} jobs are preparing{slow}."
        case "places":
            return (
                f"{preparing} jobs are preparing and {generating} generating, as many as the "
                "workers have slots for. Start more workers."
            )
        case "streams":
            return f"{preparing + generating} jobs are about to pay or generating. " + " ".join(
                (*map(payments_stopped, payment_obstacles(reader)), *_accounts(reader))
            )
        case _:
            return "the queue of wake-up messages is full: the workers do not keep up."


def payment_obstacles(reader: Reader) -> list[str]:
    """Return why live workers do not pay, each reason once."""
    return sorted({why for why in live_entries(reader, "worker_obstacles") if why})


def payments_stopped(why: str) -> str:
    """Return the sentence that workers do not pay, and why."""
    return f"Payments are stopped: {why}"


def _accounts(reader: Reader) -> list[str]:
    """Return how many messages each account may send at a time, and for how long it pauses."""
    now, found = reader.now_ms(), []
    for account in reader.accounts():
        messages = int(account.window)
        text = f"{account.name} sends at most {messages} message{'s' * (messages != 1)} at a time"
        if account.refusals:
            text += ", after 429 responses"
        if account.cooling_until > now:
            text += f"; it pauses for {(account.cooling_until - now) / 1000:.0f} s"
        found.append(f"{text}.")
    return found
