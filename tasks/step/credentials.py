"""The account and the token that a step uses."""

from contextlib import AbstractContextManager

from tasks.step.context import StepContext
from worker.accounts.credentials import ANONYMOUS, Credential
from worker.nemo.client import NemoClient
from worker.nemo.errors import Call, TokenRefused
from worker.runtime.worker_registry import announced_accounts


class AccountElsewhereError(Exception):
    """Only another live worker has the token of the job's account, so that it must take the job."""


def open_client(step: StepContext) -> AbstractContextManager[NemoClient]:
    """Open a client of the video API with the token of the job's account.

    Raises:
        The errors of `job_credential`.
    """
    return step.runtime.open_client(job_credential(step).token)


def job_credential(step: StepContext) -> Credential:
    """Return the credential that the job uses now.

    A job that has paid uses the account that owns its session. A job that has not paid uses any
    account that can pay for it.

    Raises:
        LeaseLostError: The step no longer owns the job.
        AccountCoolingDownError: The account is cooling down after a 429.
        TokenPendingError: Another worker is requesting the anonymous token.
        AccountElsewhereError: Only another worker has the token of the job's account.
        NemoError: There is no token, or no account owns the session.
    """
    accounts = step.runtime.accounts
    if step.job.is_bound:
        credential = _owning_account(step)
    else:
        account = step.account = accounts.choose(step.job.fact("account"))
        step.note_facts(account=account.name)
        credential = accounts.credential(account)
        step.note_facts(token_id=credential.token_id)
    step.used_tokens.append(credential.token_id)
    return credential


def account_name(step: StepContext) -> str:
    """Return the name of the account that the job uses now."""
    return step.job.fact("keeper") or step.job.fact("account") or ANONYMOUS


def discard_used_tokens(step: StepContext) -> None:
    """Discard the anonymous token if this step has used it. The next step requests a new one."""
    for token_id in step.used_tokens:
        step.runtime.accounts.discard_anonymous_token(token_id)


def _owning_account(step: StepContext) -> Credential:
    """Return the credential of the account that owns the session.

    The account has another name if its token was replaced.
    """
    accounts, job = step.runtime.accounts, step.job
    name = job.fact("keeper") or job.facts["account"]
    if name in accounts.names():
        return accounts.credential(accounts.recent(name))
    # During a rolling deployment, another worker may have the token already, or still.
    if name in announced_accounts(step.runtime.ledger):
        raise AccountElsewhereError
    owner = accounts.session_owner(job.facts["session_id"])
    if owner is not None:
        # The account that owns the session now, beside the one that has paid.
        step.update_facts(keeper=owner.name)
        return owner
    if name == ANONYMOUS and accounts.has_token(ANONYMOUS):
        return accounts.credential(step.runtime.ledger.account(ANONYMOUS))
    raise TokenRefused(
        Call.TOKEN,
        f"{name} is no longer in NEMO_TOKEN, and no account in it owns the project",
    )
