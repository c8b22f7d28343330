"""Claims, leases and commits: one owner, and no write of an old one."""

from tests.unit.worker.ledger.conftest import LEASE, LedgerHarness, commit_again, job_state
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit


def test_a_job_has_one_owner_and_a_repeated_claim_gets_the_same_fence(
    harness: LedgerHarness,
) -> None:
    harness.submit("j")
    harness.admit()
    fence = harness.claim("j")
    assert harness.claim("j") == fence
    assert harness.ledger.claim("j", "w2", "n2").verdict == "BUSY"
    assert harness.ledger.claim("j", "w1", "other").verdict == "BUSY"


def test_only_the_newest_fence_commits(harness: LedgerHarness) -> None:
    harness.submit("j")
    harness.admit()
    old = harness.claim("j")
    harness.later(LEASE + 1)
    new = harness.claim("j", "w2", "n2")
    assert not harness.ledger.commit("j", old, Commit(State.GENERATING))
    assert not harness.ledger.update_facts("j", old, {"x": "1"})
    assert harness.ledger.heartbeat([("j", old), ("j", new)]) == [False, True]
    assert harness.ledger.commit("j", new, Commit(State.GENERATING))
    assert job_state(harness) is State.GENERATING


def test_a_repeated_commit_counts_once(harness: LedgerHarness) -> None:
    fence = harness.running()
    end = Commit(State.SUCCEEDED)
    assert commit_again(harness.ledger, "j", fence, end, nonce="x") == "OK"
    assert commit_again(harness.ledger, "j", fence, end, nonce="x") == "OK"
    assert harness.ledger.counts()[0] == {State.SUCCEEDED: 1}
    assert harness.places("j") == ["end"]


def test_a_claim_before_the_due_time_is_refused(harness: LedgerHarness) -> None:
    fence = harness.running()
    harness.ledger.commit("j", fence, Commit(State.RENDERING, delay=30))
    assert harness.ledger.claim("j", "w2", "n2").verdict == "EARLY"
    assert harness.admit() == []
    harness.later(31)
    harness.admit()
    assert harness.ledger.claim("j", "w2", "n2").verdict == "OK"


def test_a_job_that_kills_five_workers_is_held_and_can_be_released(harness: LedgerHarness) -> None:
    harness.submit("j")
    harness.admit()
    for n in range(5):
        harness.claim("j", f"w{n}", f"n{n}")
        harness.later(2 * LEASE)
    assert harness.ledger.claim("j", "w9", "n9").verdict == "POISON"
    job = harness.ledger.job("j")
    assert job is not None
    assert job.reason is Reason.POISON
    assert harness.places("j") == ["held:{t}:-:poison"]
    assert harness.ledger.release("j") == "OK"
    assert harness.admit() == ["j"]


def test_only_one_suspect_runs_at_a_time(harness: LedgerHarness) -> None:
    for name in ("a", "b"):
        harness.submit(name)
    harness.admit()
    for n in range(2):
        for name in ("a", "b"):
            harness.claim(name, f"w{n}", f"n{n}")
        harness.later(2 * LEASE)
    harness.claim("a", "w2", "n2")
    assert harness.ledger.claim("b", "w2", "n2").verdict == "EARLY"


def test_the_results_of_a_message_are_stored_although_the_lease_is_lost(
    harness: LedgerHarness,
) -> None:
    fence = harness.running()
    assert harness.begin("j", fence, call="j:1:c") == "OK"
    harness.later(2 * LEASE)
    newer = harness.claim("j", "w2", "n2")
    facts = {"fact:j:1:c:stream": "said", "fact:j:1:c:ended": "clean", "draft": "d"}
    late = Commit(State.SETTLING, facts={**facts, "fact:other:stream": "x"})
    assert not harness.ledger.commit("j", fence, late)
    job = harness.ledger.job("j")
    assert job is not None
    assert (job.state, job.call_fact("stream"), job.fact("draft")) == (
        State.PREPARING,
        "said",
        None,
    )
    assert job.fact("fact:other:stream") is None
    assert not harness.redis.exists("slots:{t}:a")
    assert harness.redis.zrange("ended:{t}:a", 0, -1) == ["j:1:c"]
    # The first result stays.
    again = Commit(State.SETTLING, facts={"fact:j:1:c:stream": "more"})
    assert harness.ledger.commit("j", newer, again)
    job = harness.ledger.job("j")
    assert job is not None
    assert (job.state, job.call_fact("stream")) == (State.SETTLING, "said")


def test_the_next_stage_keeps_a_lease_of_which_much_is_left(harness: LedgerHarness) -> None:
    fence = harness.running()
    due = harness.redis.zscore("agenda:{t}", "j")
    harness.later(LEASE / 3)
    reply = harness.ledger.commit_and_claim("j", fence, Commit(State.GENERATING))
    assert reply.claim is not None
    assert reply.claim.record == harness.redis.hgetall("job:{t}:j")
    assert reply.claim.now == int(harness.redis.get("test:clock") or 0)
    assert harness.redis.zscore("agenda:{t}", "j") == due
    harness.later(LEASE / 3)
    reply = harness.ledger.commit_and_claim("j", reply.claim.fence, Commit(State.SETTLING))
    assert reply.claim is not None
    assert int(reply.claim.record["lease"]) == reply.claim.now + LEASE * 1000
    assert harness.redis.zscore("agenda:{t}", "j") == reply.claim.now + (LEASE + 1) * 1000
