"""Polls that are claimed and ended in groups, under the rules of a step."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.worker.ledger.conftest import LEASE, LedgerHarness, job_state
from worker.ledger.constants import POLL_GRACE_MS
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.polls import DuePoll, PollEnd, PollGroup, Polls

INTERVAL = 30.0
SUBMITTED = {"render_id": "r", "render_submitted": "1", "polls": "0", "account": "a"}


def rendering(harness: LedgerHarness, *job_ids: str, delay: float = INTERVAL) -> None:
    """Make jobs whose renders were submitted, and are polled after a delay."""
    for job_id in job_ids:
        fence = harness.running(job_id)
        end = Commit(State.RENDERING, delay=delay, facts=SUBMITTED)
        assert harness.ledger.commit(job_id, fence, end)


def due(harness: LedgerHarness, *job_ids: str) -> None:
    """Make jobs whose renders are due for a poll."""
    rendering(harness, *job_ids)
    harness.later(INTERVAL)


def claim(harness: LedgerHarness, nonce: str = "g1", most: int = 10) -> PollGroup:
    """Claim due polls."""
    return Polls(harness.ledger).claim("w1", nonce, most)


def ids(group: PollGroup) -> list[str]:
    """Return the jobs of a group."""
    return [poll.job_id for poll in group.polls]


def end(poll: DuePoll, polls: int | None = 1, delay: float = INTERVAL) -> PollEnd:
    """End a poll whose render goes on."""
    return PollEnd(poll.job_id, poll.fence, delay, polls)


def record(harness: LedgerHarness, job_id: str = "j") -> Any:
    """Return the fields of a job."""
    return harness.ledger.record(job_id)


def test_a_group_is_what_is_due_each_job_under_its_own_fence(harness: LedgerHarness) -> None:
    due(harness, "a", "b")
    rendering(harness, "later")
    harness.later(2)
    group = claim(harness)
    assert sorted(ids(group)) == ["a", "b"]
    assert {poll.fence for poll in group.polls} == {"2:g1"}
    first = group.polls[0]
    assert (first.render_id, first.account, first.polls) == ("r", "a", 0)
    assert group.next_due == INTERVAL - 2
    for name in ("a", "b"):
        assert harness.ledger.claim(name, "w2", "n9").verdict == "BUSY"
        assert harness.places(name) == ["agenda"]
    assert claim(harness, "g2").polls == []


def test_a_group_is_no_larger_than_asked_and_the_rest_is_due_immediately(
    harness: LedgerHarness,
) -> None:
    due(harness, "a", "b", "c")
    first = claim(harness, "g1", 2)
    assert (len(first.polls), first.next_due) == (2, 0)
    assert {*ids(first), *ids(claim(harness, "g2", 2))} == {"a", "b", "c"}


def test_a_repeated_claim_returns_the_same_polls_and_claims_no_others(
    harness: LedgerHarness,
) -> None:
    due(harness, "a", "b")
    group = claim(harness, "g1", 1)
    assert claim(harness, "g1", 1).polls == group.polls
    assert harness.ledger.counts()[0] == {State.RENDERING: 2}
    Polls(harness.ledger).commit([end(group.polls[0])])
    assert claim(harness, "g1", 1).polls == []


def test_a_committed_poll_is_due_again_after_its_delay(harness: LedgerHarness) -> None:
    due(harness, "j")
    harness.redis.hset("job:{t}:j", mapping={"tries": "3", "crashes": "1"})
    (poll,) = claim(harness).polls
    assert Polls(harness.ledger).commit([end(poll)]) == [True]
    job = record(harness)
    assert (job["polls"], job["tries"], job["crashes"], job["owner"]) == ("1", "0", "0", "")
    assert claim(harness, "g2").next_due == INTERVAL
    harness.later(INTERVAL)
    (again,) = claim(harness, "g3").polls
    assert (again.fence, again.polls) == ("3:g3", 1)


def test_a_poll_that_was_not_made_counts_no_poll_and_no_success(harness: LedgerHarness) -> None:
    due(harness, "j")
    harness.redis.hset("job:{t}:j", "tries", "3")
    (poll,) = claim(harness).polls
    assert Polls(harness.ledger).commit([end(poll, None, 5)]) == [True]
    assert (record(harness)["polls"], record(harness)["tries"]) == ("0", "3")
    assert claim(harness, "g2").next_due == 5


def test_a_repeated_commit_changes_nothing(harness: LedgerHarness) -> None:
    due(harness, "j")
    (poll,) = claim(harness).polls
    for _ in range(2):
        assert Polls(harness.ledger).commit([end(poll)]) == [True]
        harness.later(1)
    assert claim(harness, "g2").next_due == INTERVAL - 2


def test_a_lost_lease_is_the_loss_of_one_poll_of_the_group(harness: LedgerHarness) -> None:
    due(harness, "a", "b")
    group = claim(harness)
    harness.later(LEASE + 1)
    taken = harness.ledger.claim("a", "w2", "n2")
    assert taken.verdict == "OK"
    committed = Polls(harness.ledger).commit([end(poll) for poll in group.polls])
    assert dict(zip(ids(group), committed, strict=True)) == {"a": False, "b": True}
    assert record(harness, "a")["owner"] == "w2"
    assert harness.ledger.commit("a", taken.fence, Commit(State.DELIVERING))


def test_a_dead_worker_leaves_leases_that_the_agenda_takes_over(harness: LedgerHarness) -> None:
    due(harness, "a", "b")
    claim(harness)
    for _ in range(3):
        assert harness.admit() == []
        harness.later((LEASE + 3) / 3)
    assert sorted(harness.admit()) == ["a", "b"]
    assert harness.ledger.claim("a", "w2", "n2").record["crashes"] == "1"


def test_a_heartbeat_keeps_the_lease_of_a_poll_that_hangs(harness: LedgerHarness) -> None:
    due(harness, "j")
    (poll,) = claim(harness).polls
    for _ in range(3):
        harness.later(LEASE / 2)
        assert harness.ledger.heartbeat([("j", poll.fence)]) == [True]
        assert harness.admit() == []
    assert Polls(harness.ledger).commit([end(poll)]) == [True]


def test_a_job_whose_cancellation_is_requested_in_between_ends_as_by_a_step(
    harness: LedgerHarness,
) -> None:
    due(harness, "unpaid", "paid")
    fields: dict[Any, Any] = {"call:1": "c", "outcome:1": "done", "paid": "1"}
    harness.redis.hset("job:{t}:paid", mapping=fields)
    group = claim(harness)
    assert harness.ledger.cancel("unpaid") == "REQUESTED"
    assert harness.ledger.cancel("paid") == "CONTINUES"
    assert Polls(harness.ledger).commit([end(poll) for poll in group.polls]) == [True, True]
    assert job_state(harness, "unpaid") is State.CANCELLED
    assert job_state(harness, "paid") is State.RENDERING
    harness.later(INTERVAL)
    assert ids(claim(harness, "g2")) == ["paid"]


@pytest.mark.parametrize(
    "fields",
    [
        {"state": "delivering"},
        {"render_submitted": ""},
        {"owner": "w2", "nonce": "n", "lease": "2000000000"},
    ],
    ids=["moved on", "to be submitted", "owned"],
)
def test_what_is_no_poll_any_more_leaves_the_index_alone(
    harness: LedgerHarness, fields: Mapping[Any, Any]
) -> None:
    due(harness, "j")
    harness.redis.hset("job:{t}:j", mapping=fields)
    before, at = record(harness), harness.redis.zscore("agenda:{t}", "j")
    group = claim(harness)
    assert (group.polls, group.next_due) == ([], None)
    assert (record(harness), harness.redis.zscore("agenda:{t}", "j")) == (before, at)


@pytest.mark.parametrize(
    "fields",
    [{"crashes": "2"}, {"v": "99"}, {"fence": "many"}, {"render_id": ""}],
    ids=["suspect", "newer", "malformed", "no render"],
)
def test_what_a_claim_must_decide_about_is_dispatched_as_a_step(
    harness: LedgerHarness, fields: Mapping[Any, Any]
) -> None:
    due(harness, "j")
    harness.redis.hset("job:{t}:j", mapping=fields)
    before = record(harness)
    group = claim(harness)
    assert (group.polls, group.next_due, record(harness)) == ([], None, before)
    assert harness.admit() == ["j"]


def test_a_record_of_another_type_spoils_no_group(harness: LedgerHarness) -> None:
    due(harness, "good", "bad")
    harness.redis.rename("job:{t}:bad", "elsewhere")
    harness.redis.set("job:{t}:bad", "text")
    (poll,) = claim(harness).polls
    assert poll.job_id == "good"
    ends = [PollEnd("bad", "2:g1", 30, 1), end(poll)]
    assert Polls(harness.ledger).commit(ends) == [False, True]
    harness.admit()
    assert list(harness.ledger.set_aside()) == ["bad"]


def test_a_postponed_poll_moves_in_the_index(harness: LedgerHarness) -> None:
    due(harness, "j")
    harness.redis.hincrby("job:{t}:j", "not_before", 5000)
    group = claim(harness)
    assert (group.polls, group.next_due) == ([], 5)


def test_a_poll_that_nobody_claims_becomes_a_step_after_the_grace(harness: LedgerHarness) -> None:
    due(harness, "j")
    assert harness.admit() == []
    harness.later(POLL_GRACE_MS / 1000)
    assert harness.admit() == ["j"]


def test_late_polls_are_left_to_the_workers_that_claim_groups(harness: LedgerHarness) -> None:
    due(harness, "a", "b")
    harness.later(POLL_GRACE_MS / 1000)
    claim(harness, "g1", 1)
    assert harness.admit() == []
    harness.later(POLL_GRACE_MS / 1000)
    (late,) = harness.admit()
    assert late in {"a", "b"}


def test_a_worker_without_room_for_polls_leaves_them_to_the_steps(harness: LedgerHarness) -> None:
    due(harness, "j")
    harness.later(POLL_GRACE_MS / 1000)
    assert claim(harness, "g1", 0).polls == []
    assert harness.admit() == ["j"]


@pytest.mark.parametrize(
    "commit",
    [
        Commit(State.RENDERING, delay=1, facts={"render_id": "", "render_submitted": ""}),
        Commit(State.RENDERING),
        Commit(State.HELD, reason=Reason.RENDER_SLOW, resume=State.RENDERING),
    ],
    ids=["submits again", "no delay", "held"],
)
def test_only_a_render_that_waits_is_in_the_index(harness: LedgerHarness, commit: Commit) -> None:
    due(harness, "j")
    (poll,) = claim(harness).polls
    assert harness.ledger.commit("j", poll.fence, commit)
    assert claim(harness, "g2").next_due is None


def test_a_released_job_is_polled_by_a_step_first(harness: LedgerHarness) -> None:
    due(harness, "j")
    (poll,) = claim(harness).polls
    held = Commit(State.HELD, reason=Reason.RENDER_SLOW, resume=State.RENDERING)
    harness.ledger.commit("j", poll.fence, held)
    assert harness.ledger.release("j") == "OK"
    assert harness.admit() == ["j"]
