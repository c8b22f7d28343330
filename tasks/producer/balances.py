"""The balances of the accounts, read anew by whoever asks, beside the fleet's own clock."""

from tasks.producer.producer import Producer


def refresh_balances(producer: Producer) -> list[str]:
    """Read the balances anew; what could not be read, in words. Asks for no anonymous token."""
    # The client of the video API is slow to load, and most commands do without it.
    from worker.accounts.credentials import (  # noqa: PLC0415
        ANONYMOUS,
        AccountCoolingDownError,
        TokenPendingError,
    )
    from worker.nemo.errors import NemoError  # noqa: PLC0415
    from worker.runtime.runtime import Runtime  # noqa: PLC0415

    runtime, trouble = Runtime.open(producer.settings), []
    known = {account.name for account in producer.ledger.accounts()}
    for name in runtime.accounts.names():
        if name == ANONYMOUS and name not in known:
            continue
        try:
            runtime.balance_monitor.read_balance(runtime.accounts.credential(name))
        except TokenPendingError:
            trouble.append(f"{name}: a worker is just asking for a token; try again.")
        except AccountCoolingDownError as error:
            trouble.append(f"{name}: {error} after a 429; these figures are the last ones read.")
        except NemoError as error:
            trouble.append(
                f"{name}: the balance could not be read ({error.message}). Look at NEMO_API_URL "
                f"({producer.settings.api.url}) and NEMO_TOKEN."
            )
    return trouble
