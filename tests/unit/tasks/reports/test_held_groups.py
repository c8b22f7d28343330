"""The commands for groups of held jobs."""

import pytest

from tasks.reports.held_groups import held_groups
from worker.ledger.model.states import HOLD_REASONS, UNDECIDED, Reason


@pytest.mark.parametrize("reason", sorted(HOLD_REASONS))
def test_the_release_of_undecided_jobs_names_a_decision(reason: Reason) -> None:
    (group,) = held_groups({reason: 2})
    names_decision = group.command.endswith(("--as-done", "--pay-again"))
    assert names_decision == (reason in UNDECIDED)
