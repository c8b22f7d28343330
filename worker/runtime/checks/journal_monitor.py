"""The periodic checks of the payment journal: nothing is paid while one of them fails."""

from dataclasses import asdict
from typing import Final

import structlog
from redis.exceptions import RedisError

from worker.journal.identity import IdentityVerdict
from worker.journal.stores import JournalFailed
from worker.recovery.identity_guard import IdentityGuard
from worker.recovery.job_restorer import JobRestorer
from worker.recovery.ledger_recovery import recover_ledger
from worker.runtime.checks.durability import (
    JOURNAL,
    NOT_COMPARED,
    CheckResult,
    check_journal,
    describe,
)
from worker.runtime.checks.identity_check import identity_result
from worker.runtime.leader_lease import LeaderLease
from worker.runtime.runtime import Runtime

log = structlog.get_logger(__name__)

WATCH_HEARTBEATS: Final = 3
"""How many heartbeats must pass without a renewal of the journal's mirror by workers on another
Redis, before this ledger takes the journal over."""


class JournalMonitor:
    """Checks the payment journal and updates this worker's status.

    It is not part of the heartbeat, because a slow store must not delay the extension of leases.

    Args:
        runtime: The process. It does not pay before the first check.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._guard = IdentityGuard(
            runtime.ledger,
            runtime.journal,
            writer=runtime.owner,
            watch_seconds=runtime.settings.timing.lease_seconds / 3 * WATCH_HEARTBEATS,
        )
        runtime.status.journal_failures = (NOT_COMPARED,)

    def run_once(self) -> None:
        """Check the journal once.

        Raises:
            RedisError: Redis does not answer. Nothing is paid until the next check.
        """
        status = self._runtime.status
        try:
            failures = self._failures()
        except RedisError:
            status.journal_failures = (NOT_COMPARED,)
            raise
        if failures != status.journal_failures and (failures or not self._is_unchecked):
            log.warning(
                "payments stopped" if failures else "payments resumed", why=describe(failures)
            )
        status.journal_failures = failures

    def recover(self, lease: LeaderLease) -> None:
        """Recover what the ledger has lost, while this worker leads.

        A recovery that is interrupted, because another worker leads or a server does not answer,
        continues with the next call on the worker that leads then.

        Raises:
            RedisError: Redis does not answer.
        """
        runtime, verdict = self._runtime, self._runtime.status.identity
        if verdict is None or not verdict.needs_recovery or not lease.acquire():
            return
        restorer = JobRestorer(runtime.ledger, runtime.journal, runtime.output)
        try:
            ended = recover_ledger(
                self._guard, runtime.journal, restorer, may_continue=lease.acquire
            )
        except JournalFailed as error:
            log.warning("recovery from the payment journal interrupted", error=str(error))
            return
        if ended is not None:
            log.warning("recovery from the payment journal ended", **asdict(ended))
            self.run_once()

    @property
    def _is_unchecked(self) -> bool:
        return self._runtime.status.journal_failures == (NOT_COMPARED,)

    def _failures(self) -> tuple[CheckResult, ...]:
        status = self._runtime.status
        usable = check_journal(self._runtime.journal)
        if not usable.ok:
            return (usable,)
        try:
            status.identity = self._guard.check()
        except JournalFailed as error:
            found = f"not usable ({error})"
            return (CheckResult(JOURNAL, ok=False, found=found, remedy=error.remedy),)
        status.recovered_at = self._guard.ids.recovered_at
        return () if status.identity is IdentityVerdict.PAY else (identity_result(status.identity),)
