"""The checks of ``reelqueue doctor`` about tokens, credits, and held and failed jobs."""

from collections.abc import Iterable, Iterator
from typing import Final

from tasks.producer.producer import Producer
from worker.accounts.credentials import ANONYMOUS, account_tokens
from worker.accounts.credit_shortfall import credit_shortfall
from worker.ledger.model.accounts import Account
from worker.ledger.model.states import State
from worker.nemo.errors import NemoError, TokenRefused
from worker.runtime.checks.durability import CheckResult
from worker.runtime.runtime import client_factory
from worker.runtime.worker_registry import announced_accounts

MAX_LISTED: Final = 20
"""Accounts that one check names."""


def check_tokens(producer: Producer, workers: Iterable[Account] = ()) -> CheckResult:
    """Ask the API for the balance of each configured token, which is free.

    Args:
        producer: The settings of this process.
        workers: The accounts of the live workers. Tokens that are not set in this process are not
            checked again: what the workers have found is reported.
    """
    tokens = account_tokens(producer.settings)
    elsewhere = [each for each in workers if each.name not in {*tokens, ANONYMOUS}]
    if not tokens and not elsewhere:
        return CheckResult(
            "token",
            ok=True,
            found="anonymous: 100 credits, about one clip, and no export; set NEMO_TOKEN for more",
        )
    open_client = client_factory(producer.settings)
    found, refused = [], []
    for name, token in tokens.items():
        try:
            with open_client(token) as client:
                balance = client.credits()
        except TokenRefused:
            refused.append(name)
            found.append(f"{name} is refused by the API")
        except NemoError as error:
            found.append(f"{name} could not be checked ({error.message})")
        else:
            found.append(f"{name} is accepted, {balance.available:g} credits available")
    for account in elsewhere:
        is_refused = account.auth_refused_by == "balance"
        refused += [account.name] if is_refused else []
        verdict = "is refused by the API" if is_refused else "works"
        found.append(f"{account.name}, of the workers, {verdict}")
    return CheckResult(
        "token",
        ok=not refused,
        found=f"{len(tokens)} configured: {_listed(found)}",
        remedy=f"Replace the token of {_listed(refused)} in NEMO_TOKEN, for the workers too, and "
        "restart them. Jobs held for it that have not paid then continue by themselves.",
    )


def check_accounts(producer: Producer) -> CheckResult:
    """Report credits and cool-downs. They need no repair, so the check never fails."""
    ledger, settings = producer.ledger, producer.settings
    names = sorted({*account_tokens(settings)} | announced_accounts(ledger)) or [ANONYMOUS]
    now = ledger.now_ms()
    found, suggestions = [], []
    is_cooling_down = False
    for account in map(ledger.account, names):
        seconds = (account.cooling_until - now) / 1000
        if seconds > 0:
            is_cooling_down = True
            found.append(f"{account.name} cools down for {seconds:.0f} s after a 429 response")
        elif account.is_read:
            found.append(
                f"{account.name} has {account.available:g} credits, {account.reserved:g} reserved"
            )
    if is_cooling_down:
        suggestions.append(
            "An account that cools down continues by itself. If that happens often, lower "
            "REELQUEUE_ACCOUNT_IN_FLIGHT."
        )
    shortfall = credit_shortfall(ledger, names, settings.api.clip_cost)
    if shortfall.waiting:
        found.append(str(shortfall).rstrip("."))
        suggestions.append(
            f"Buy credits at {settings.api.web_url}; the jobs then continue by themselves."
        )
    return CheckResult(
        "accounts",
        ok=True,
        found=_listed(found) or "no balance was read yet",
        suggestion=" ".join(suggestions),
    )


def check_jobs(producer: Producer) -> CheckResult:
    """Report held and failed jobs, which wait for a decision. The check never fails."""
    states, held = producer.ledger.counts()
    reasons = ", ".join(f"{reason} {n}" for reason, n in sorted(held.items()) if n)
    failed = states.get(State.FAILED, 0)
    found = [f"{states[State.HELD]} held ({reasons})"] if reasons else []
    found += [f"{failed} failed"] if failed else []
    return CheckResult(
        "jobs",
        ok=True,
        found=", ".join(found) or "none held or failed",
        suggestion=" ".join(_next_steps(held=bool(reasons), failed=bool(failed))),
    )


def _next_steps(*, held: bool, failed: bool) -> Iterator[str]:
    if held:
        yield (
            "`reelqueue list --state held` names the held jobs, and `reelqueue status ID` says "
            "what each of them needs."
        )
    if failed:
        yield (
            "`reelqueue list --state failed` names the failed ones; `reelqueue retry ID` tries one "
            "again."
        )


def _listed(texts: list[str]) -> str:
    more = f"; {len(texts) - MAX_LISTED} more" if len(texts) > MAX_LISTED else ""
    return "; ".join(texts[:MAX_LISTED]) + more
