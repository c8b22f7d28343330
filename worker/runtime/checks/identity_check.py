"""The result of the comparison of ledger and journal, in words for operators."""

from collections.abc import Mapping
from typing import Final

from worker.journal.identity import IdentityVerdict
from worker.runtime.checks.durability import IDENTITY, CheckResult

_WAIT: Final = "Wait: the workers recover it by themselves, or run `reelqueue recover` now."
_STEPS: Final = (
    'See "When payments stop until you decide" in docs/operations.md: stop the workers on the '
    "other Redis, then run `reelqueue recover` here, or give this Redis a journal of its own by "
    "REELQUEUE_JOURNAL_URL and `reelqueue recover --new-journal`."
)
_OWN_JOURNAL: Final = (
    "Set REELQUEUE_JOURNAL_URL to the store that all workers share, or run "
    "`reelqueue recover --new-journal` to continue with this one."
)
_FIRST_START: Final = (
    "The first worker writes it, seconds after its start. If you have not started one, run "
    "`reelqueue worker`."
)
_MEANING: Final[Mapping[IdentityVerdict, tuple[str, str]]] = {
    IdentityVerdict.FIRST_START: ("not written yet", _FIRST_START),
    IdentityVerdict.WAIT: (
        "Redis was restarted or restored; the workers watch whether others use the journal",
        _WAIT,
    ),
    IdentityVerdict.RECOVER: ("Redis has lost records; they are recovered from the journal", _WAIT),
    IdentityVerdict.RECOVER_NEWER: (
        "Redis was restarted; what it may have lost is recovered from the journal",
        _WAIT,
    ),
    IdentityVerdict.CLONE: (
        "workers on another Redis pay with this journal: this is a copy",
        _STEPS,
    ),
    IdentityVerdict.OTHER_LEDGER: ("the journal belongs to the records on another Redis", _STEPS),
    IdentityVerdict.OTHER_JOURNAL: (
        "this is not the journal of these records",
        _OWN_JOURNAL,
    ),
}


def identity_result(verdict: IdentityVerdict) -> CheckResult:
    """Return the result of the comparison as a check."""
    if verdict is IdentityVerdict.PAY:
        return CheckResult(IDENTITY, ok=True, found="the journal belongs to these records")
    found, remedy = _MEANING[verdict]
    is_new = verdict is IdentityVerdict.FIRST_START
    suggestion = remedy if is_new else ""
    return CheckResult(IDENTITY, ok=is_new, found=found, remedy=remedy, suggestion=suggestion)
