"""What the balance of an account shows about the charge of a message of unknown outcome."""

import time
from typing import Final

import structlog

from tasks.step.context import StepContext
from tasks.step.credentials import account_name, job_credential
from worker.nemo.errors import NemoError

log = structlog.get_logger(__name__)

BALANCE_TRIES: Final = 10
BALANCE_RETRY_SECONDS: Final = 0.3
"""The pause before the next try, if another worker is reading the balance."""


def describe_charge(step: StepContext) -> str:
    """Return a clause that says what the balance shows about the charge of the message."""
    name, turn = account_name(step), step.job.message_turn
    is_read = False
    try:
        is_read = _read_balance(step)
    except NemoError as error:
        log.info("balance not read", error=str(error))
    account = step.runtime.ledger.account(name)
    if not is_read or turn is None or turn.balance_before is None or not turn.nth:
        return f"the balance of {name} before or after the message is not known"
    if others := turn.uncounted_charges + account.messages - turn.nth:
        return (
            f"the balance of {name} does not show it, because it paid for other messages of this "
            f"service meanwhile ({others})"
        )
    return (
        f"{name} had {turn.balance_before:g} credits before it and {account.total:g} after it, "
        f"and paid for no other message of this service meanwhile"
    )


def _read_balance(step: StepContext) -> bool:
    """Read the balance of the job's account.

    A reading that another worker has begun earlier may lack the charge, and does not count.

    Returns:
        False if other workers were reading the balance at each try.

    Raises:
        NemoError: The API did not answer.
    """
    monitor, credential = step.runtime.balance_monitor, job_credential(step)
    for _ in range(BALANCE_TRIES):
        if monitor.read_balance(credential):
            return True
        time.sleep(BALANCE_RETRY_SECONDS)
    return False
