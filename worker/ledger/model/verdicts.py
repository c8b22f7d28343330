"""The replies of scripts that have more than two different ones."""

from enum import StrEnum


class SubmitVerdict(StrEnum):
    """The result of a submission."""

    OK = "OK"  # written as queued
    DUPLICATE = "DUPLICATE"  # its key or id exists with the same payload
    CONFLICT = "CONFLICT"  # its key exists with another payload
    # For a row of a batch only:
    REPLACED = "REPLACED"  # written as queued, instead of an unpaid, failed or cancelled job
    REMADE = "REMADE"  # as REPLACED, and that job has a clip, or has paid and not ended
    KEPT = "KEPT"  # not written: its job has a clip, or has paid and not ended, for earlier content
    DEFERRED = "DEFERRED"  # to be decided at the manifest's end


class ClaimVerdict(StrEnum):
    """Whether a worker became the owner of a job."""

    OK = "OK"
    BUSY = "BUSY"  # another owner's lease is running
    EARLY = "EARLY"  # not due yet, or another suspect of crashes is running
    NEWER = "NEWER"  # a newer version wrote the record: left to the workers of that version
    GONE = "GONE"  # no such job, or it is not running
    POISON = "POISON"  # too many workers died during its steps: it is held now
    UNREADABLE = "UNREADABLE"


class CommitVerdict(StrEnum):
    """The result of a commit."""

    OK = "OK"  # written
    CLAIMED = "CLAIMED"  # written, and the owner has claimed the job for its next stage
    LOST = "LOST"  # the caller does not own the job: only what its paid message did was written


class BeginVerdict(StrEnum):
    """Whether a paid message may be sent."""

    OK = "OK"
    NOT_DURABLE = "NOT_DURABLE"  # Redis failed: it is not known whether the intent was written
    LOST = "LOST"  # the caller does not own the job
    CANCELLED = "CANCELLED"  # cancellation was requested
    ALREADY = "ALREADY"  # this turn has a message
    CLOSED = "CLOSED"  # not the current turn, or the one before it does not allow another
    NO_BALANCE = "NO_BALANCE"  # the account's balance was never read
    NO_CREDIT = "NO_CREDIT"  # the account cannot pay for it
    PLAN = "PLAN"  # the account's plan does not allow exports
    BUDGET = "BUDGET"  # the batch may not spend that much
    COOLING = "COOLING"  # the account pauses after a 429
    OTHER_JOURNAL = "OTHER_JOURNAL"  # the ledger belongs to another payment journal
    NO_SLOT = "NO_SLOT"  # the account's messages in flight are at their limit
    SESSION_BUSY = "SESSION_BUSY"  # another job is working in the session
    SESSION_BLOCKED = "SESSION_BLOCKED"  # another job is held because of a message in the session


class AdoptVerdict(StrEnum):
    """Whether a payment in the journal was written into its job's record."""

    OK = "OK"
    LOST = "LOST"  # the caller does not own the job
    BUSY = "BUSY"  # a worker owns the job: its own step reads the journal
    PAID = "PAID"  # its current turn has another message
    ENDED = "ENDED"
    GONE = "GONE"


class SessionVerdict(StrEnum):
    """Whether a job acquired the session that it shares with others."""

    OK = "OK"
    LOST = "LOST"  # the caller does not own the job
    SESSION_BUSY = "SESSION_BUSY"  # another job is working in it, or is next
    SESSION_BLOCKED = "SESSION_BLOCKED"  # the job to wait for is held or queued
    NO_PROJECT = "NO_PROJECT"  # the job that it follows ended without a session


class CancelVerdict(StrEnum):
    """What a request to cancel a job did."""

    CANCELLED = "CANCELLED"
    REQUESTED = "REQUESTED"  # noted: its step is running, and will not pay any more
    CONTINUES = "CONTINUES"  # noted: it has paid, and continues to its clip
    PAID = "PAID"  # held after it has paid, and left as it is without a confirmation
    ENDED = "ENDED"
    GONE = "GONE"
    UNREADABLE = "UNREADABLE"


class ReleaseVerdict(StrEnum):
    """What a request to release a held job did."""

    OK = "OK"
    NOT_HELD = "NOT_HELD"
    NEEDS_CHOICE = "NEEDS_CHOICE"  # its message's outcome is unknown: somebody must decide
    REFUSED = "REFUSED"  # the decision does not fit the reason of the hold
    GONE = "GONE"
    UNREADABLE = "UNREADABLE"


class RetryVerdict(StrEnum):
    """What a request to retry a failed job did."""

    OK = "OK"
    NOT_FAILED = "NOT_FAILED"
    GONE = "GONE"
    UNREADABLE = "UNREADABLE"
