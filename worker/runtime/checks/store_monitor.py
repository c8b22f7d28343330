"""Resumes the jobs that are held for a store, once the stores work again."""

from typing import Final

import structlog

from worker.accounts.balance_monitor import RELEASE_LIMIT
from worker.ledger.model.states import Reason
from worker.ledger.problems import Part, current_problems
from worker.runtime.runtime import Runtime
from worker.storage.errors import StoreError

log = structlog.get_logger(__name__)

CHECK_SECONDS: Final = 60.0
FIRST_RELEASE: Final = 20
"""Jobs that are resumed first. The number doubles each time, so that a store is not flooded."""
RELEASED_BY: Final = "the store works again"


class StoreMonitor:
    """Checks the stores while jobs are held for one, and resumes the jobs step by step."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._most = FIRST_RELEASE

    def run_once(self) -> None:
        """Check the stores once if jobs are held, and resume some of these if both work."""
        ledger = self._runtime.ledger
        if not ledger.held_count(Reason.STORE) or not self._do_stores_work():
            self._most = FIRST_RELEASE
            return
        resumed = 0
        for account in ledger.holding_accounts(Reason.STORE):
            held = ledger.some_held_ids(Reason.STORE, account, self._most - resumed)
            resumed += len(ledger.release_many(held, who=RELEASED_BY))
        log.info("held jobs resumed", jobs=resumed, why=RELEASED_BY)
        self._most = min(RELEASE_LIMIT, 2 * self._most)

    def _do_stores_work(self) -> bool:
        """Return whether this worker can use both stores, and no worker has reported a problem."""
        problems = {problem.part for problem in current_problems(self._runtime.ledger)}
        if problems & {Part.MEDIA_STORE, Part.OUTPUT_STORE}:
            return False
        try:
            self._runtime.media.check()
            self._runtime.output.check()
        except StoreError as error:
            log.info("jobs stay held for a store", error=error.message)
            return False
        return True
