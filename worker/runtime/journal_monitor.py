"""The periodic check of the payment journal: nothing is paid while it cannot be written."""

import structlog

from worker.runtime.durability import check_journal, describe
from worker.runtime.runtime import Runtime

log = structlog.get_logger(__name__)


class JournalMonitor:
    """Checks the payment journal and updates this worker's status.

    It is no part of the heartbeat: a store that does not answer must not cost the leases.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def run_once(self) -> None:
        """Check the journal once."""
        status = self._runtime.status
        result = check_journal(self._runtime.journal, self._runtime.payments.journal_id())
        failures = () if result.ok else (result,)
        if failures != status.journal_failures:
            log.warning(
                "payments stopped" if failures else "payments resumed", why=describe(failures)
            )
        status.journal_failures = failures
