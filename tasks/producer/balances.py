"""Balances of the accounts, read on demand in addition to the workers' periodic reads."""

from tasks.producer.producer import Producer


def refresh_balances(producer: Producer) -> list[str]:
    """Read the balances from the video API into the ledger, and return the problems, as sentences.

    No anonymous token is requested for this.
    """
    # The client of the video API is slow to import, and most commands do not need it.
    from worker.accounts.credentials import (  # noqa: PLC0415
        ANONYMOUS,
        AccountCoolingDownError,
        TokenPendingError,
    )
    from worker.nemo.errors import NemoError  # noqa: PLC0415
    from worker.runtime.runtime import Runtime  # noqa: PLC0415

    runtime, problems = Runtime.with_ledger(producer.ledger, producer.settings), []
    known = {account.name for account in producer.ledger.accounts()}
    for name in runtime.accounts.names():
        if name == ANONYMOUS and name not in known:
            continue
        try:
            account = runtime.ledger.account(name)
            runtime.balance_monitor.read_balance(runtime.accounts.credential(account))
        except TokenPendingError:
            problems.append(f"{name}: a worker is requesting a token; try again.")
        except AccountCoolingDownError as error:
            problems.append(f"{name}: {error} after a 429; the figures are those of the last read.")
        except NemoError as error:
            problems.append(
                f"{name}: the balance could not be read ({error.message}). Check NEMO_API_URL "
                f"({producer.settings.api.url}) and NEMO_TOKEN."
            )
    return problems
