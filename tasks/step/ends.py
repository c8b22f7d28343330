"""Writes the end of a job that has paid to the payment journal, before the ledger's commit."""

from tasks.step.context import StepContext
from worker.journal.entries import End
from worker.ledger.model.steps import Commit
from worker.reconciliation import end_facts


def record_end(step: StepContext, commit: Commit) -> None:
    """Write the job's end to the journal, if the commit ends a job that has paid.

    The clip already has its name in the output store. So if Redis loses the commit, the journal
    still shows which clip belongs to the job.

    Raises:
        JournalFailed: The journal does not answer. The step is repeated.
    """
    job = step.job
    if not commit.state.is_end or not job.last_attempt:
        return
    facts = end_facts({**job.facts, **(commit.facts or {})})
    if commit.reason is not None:
        facts |= {"reason": commit.reason, "message": commit.message, "remedy": commit.remedy}
    step.runtime.journal.end(End(job.id, commit.state, facts, job.last_attempt))
