"""The scripts in any order, each perhaps twice, against a plain model of what may happen."""

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from redis import Redis

from tests.unit.ledger.conftest import CLOCK, LEASE, House
from worker.ledger.ledger import Commit, Ledger, NewJob
from worker.ledger.payments import Payments
from worker.ledger.records import Batch, Job
from worker.ledger.states import RUNNING, Reason, State

JOBS = [f"j{n}" for n in range(4)]
BATCHES = {"j0": "", "j1": "b", "j2": "b", "j3": ""}
COST, CAP, BUDGET, BALANCE = 100, 2, 150, 350
HOLDS = [Reason.CREDITS, Reason.OUTCOME_UNKNOWN, Reason.QUESTION, Reason.POISON]

jobs = st.sampled_from(JOBS)
twice = st.booleans()


@dataclass
class Model:
    """What a job may do: the newest fence, and the turns that were opened and paid."""

    fence: int = 0
    opened: set[int] = field(default_factory=lambda: {1})
    paid: dict[int, str] = field(default_factory=dict)


class Machine(RuleBasedStateMachine):
    """Workers, people and the clock, all of them careless."""

    redis: Redis

    def __init__(self) -> None:
        super().__init__()
        self.redis.flushall()
        self.redis.set("test:clock", 1_000_000_000)
        ledger = Ledger(self.redis, "t", lease_seconds=LEASE, clock=CLOCK)
        self.house = House(self.redis, ledger, Payments(ledger))
        ledger.open_batch("b", "batch", 1)
        self.redis.hset("batch:{t}:b", "max_credits", str(BUDGET))
        self.house.payments.read_balance("a", read_at=1, available=BALANCE, frozen=0, total=BALANCE)
        self.models: dict[str, Model] = {}
        self.nonces = 0

    def fresh(self, prefix: str) -> str:
        self.nonces += 1
        return f"{prefix}{self.nonces}"

    @rule(job=jobs, again=twice)
    def submit(self, job: str, again: bool) -> None:
        new = NewJob(
            id=job, payload={"image": "x"}, fingerprint="f", key=f"k-{job}", batch_id=BATCHES[job]
        )
        verdict = self.house.ledger.submit(new).verdict
        assert verdict == ("DUPLICATE" if job in self.models else "OK")
        self.models.setdefault(job, Model())
        if again:
            assert self.house.ledger.submit(new).verdict == "DUPLICATE"

    @rule(n=st.integers(0, 4))
    def tick(self, n: int) -> None:
        for job, state in self.house.ledger.due(n, room=n, admit=3):
            assert job in self.models
            assert state in RUNNING

    @rule(seconds=st.sampled_from([1, 5, 16, 31, 100]))
    def wait(self, seconds: int) -> None:
        self.house.later(seconds)

    @rule(job=jobs, again=twice)
    def claim(self, job: str, again: bool) -> None:
        owner, nonce = self.fresh("w"), self.fresh("n")
        claim = self.house.ledger.claim(job, owner, nonce)
        if claim.verdict != "OK":
            return
        fence = int(claim.record["fence"])
        assert fence == self.models[job].fence + 1
        self.models[job].fence = fence
        self.house.ledger.record(job, fence, {"account": "a"})
        if again:
            repeated = self.house.ledger.claim(job, owner, nonce)
            assert (repeated.verdict, repeated.record["fence"]) == ("OK", str(fence))

    @rule(job=jobs, late=st.integers(0, 1))
    def beat(self, job: str, late: int) -> None:
        if job in self.models:
            (alive,) = self.house.ledger.beat([(job, self.models[job].fence - late)])
            assert not (alive and late)

    @rule(
        job=jobs,
        ahead=st.sampled_from([0, 0, 0, 1, -1]),
        late=st.sampled_from([0, 0, 0, 1]),
        again=twice,
    )
    def pay(self, job: str, ahead: int, late: int, again: bool) -> None:
        if job not in self.models:
            self.submit(job, again=False)
        self.tick(4)
        self.claim(job, again=False)
        record = self.house.ledger.job(job)
        assert record is not None
        model, call, turn = self.models[job], self.fresh("c"), record.turn + ahead
        arguments = (job, model.fence - late, turn, call, COST, 31_000, CAP)
        run = self.house.ledger.scripts.run
        if run("begin_paid", *arguments)[0] != "OK":
            return
        assert not late, "an old fence paid"
        assert turn in model.opened, "a turn that nobody opened was paid"
        assert turn not in model.paid, "a turn was paid twice"
        model.paid[turn] = call
        if again:
            assert run("begin_paid", *arguments)[0] == "OK"

    @rule(job=jobs, again=twice)
    def take_back(self, job: str, again: bool) -> None:
        record = self.house.ledger.job(job)
        if record is None or record.call is None:
            return
        model = self.models[job]
        for _ in range(1 + again):
            if self.house.payments.take_back(job, model.fence, record.call, "not_sent"):
                model.paid.pop(record.turn, None)

    @rule(job=jobs, again=twice)
    def hear_the_end(self, job: str, again: bool) -> None:
        for call in list(self.models[job].paid.values()) if job in self.models else []:
            for _ in range(1 + again):
                assert self.house.payments.fact(job, call, "ended", "clean")

    @rule(
        job=jobs,
        state=st.sampled_from([*sorted(RUNNING), State.HELD, State.SUCCEEDED, State.FAILED]),
        reason=st.sampled_from(HOLDS),
        delay=st.sampled_from([0.0, 20.0]),
        question=st.booleans(),
        late=st.integers(0, 1),
        again=twice,
    )
    def commit(
        self,
        *,
        job: str,
        state: State,
        reason: Reason,
        delay: float,
        question: bool,
        late: int,
        again: bool,
    ) -> None:
        record = self.house.ledger.job(job)
        if record is None:
            return
        model = self.models[job]
        asked = question and record.call is not None and state is State.GENERATING
        end = Commit(
            state,
            delay=0.0 if state is State.HELD else delay,
            reason=reason if state is State.HELD else None,
            resume=record.state if state is State.HELD else None,
            outcome="question" if asked else "",
        )
        nonce = self.fresh("n")
        done = self.house.ledger.commit(job, model.fence - late, end, nonce)
        assert not (done and late), "an old fence committed"
        assert done == (record.owner != "" and not late)
        if done and asked:
            model.opened.add(record.turn + 1)
        if done and again:
            assert self.house.ledger.commit(job, model.fence, end, nonce)

    @rule(job=jobs, again=twice)
    def cancel(self, job: str, again: bool) -> None:
        for _ in range(1 + again):
            self.house.ledger.cancel(job)

    @rule(job=jobs, mode=st.sampled_from(["", "pay_again", "as_done"]), again=twice)
    def release(self, job: str, mode: str, again: bool) -> None:
        record = self.house.ledger.job(job)
        done = self.house.ledger.release(job, mode=mode, who="ann")
        if done == "OK" and mode == "pay_again" and record is not None and record.call:
            self.models[job].opened.add(record.turn + 1)
        if done == "OK" and again:
            assert self.house.ledger.release(job, mode=mode, who="ann") == "NOT_HELD"

    @rule(job=jobs, again=twice)
    def retry(self, job: str, again: bool) -> None:
        if self.house.ledger.retry(job) == "OK" and again:
            assert self.house.ledger.retry(job) == "NOT_FAILED"

    @rule(shut=st.booleans(), again=twice)
    def gate(self, shut: bool, again: bool) -> None:
        for _ in range(1 + again):
            assert self.house.ledger.pause("b") if shut else self.house.ledger.resume("b")

    @invariant()
    def everything_holds(self) -> None:
        found = list(self.house.ledger.jobs(self.models))
        batch = self.house.ledger.batch("b")
        assert batch is not None
        self.each_job_stands_in_one_place(found)
        self.counters_add_up(found, batch)
        self.money_is_kept(found, batch)

    def each_job_stands_in_one_place(self, found: list[Job]) -> None:
        keys = [str(key) for key in self.redis.keys("*")]
        lists = [key for key in keys if key.startswith("flow:")]
        sets = [key for key in keys if key.startswith("held:")]
        flows = [job for key in lists for job in self.redis.lrange(key, 0, -1)]
        held = [job for key in sets for job in self.redis.smembers(key)]
        agenda = self.redis.zrange("agenda:{t}", 0, -1)
        ends = [job.id for job in found if job.state.is_end]
        assert sorted([*flows, *held, *agenda, *ends]) == sorted(self.models)
        assert sorted(flows) == sorted(j.id for j in found if j.state is State.QUEUED)
        assert sorted(held) == sorted(j.id for j in found if j.state is State.HELD)

    def counters_add_up(self, found: list[Job], batch: Batch) -> None:
        assert self.house.ledger.counts()[0] == Counter(job.state for job in found)
        assert batch.counts == Counter(job.state for job in found if job.batch_id)

    def money_is_kept(self, found: list[Job], batch: Batch) -> None:
        account = self.house.ledger.account("a")
        assert account is not None
        paid = sum(len(model.paid) for model in self.models.values())
        assert account.reserved == paid * COST <= BALANCE
        assert batch.committed <= BUDGET
        assert self.house.payments.slots_taken("a") <= CAP
        for job in found:
            turns = {turn.number: turn.call for turn in job.turns}
            assert turns == self.models[job.id].paid
            assert job.fence == self.models[job.id].fence


def test_no_order_of_scripts_breaks_an_invariant(redis: Redis) -> None:
    """A failure is printed shrunk, with the blob that repeats it."""

    class OnThisServer(Machine):
        pass

    OnThisServer.redis = redis
    run_state_machine_as_test(
        OnThisServer,
        settings=settings(
            max_examples=300,
            stateful_step_count=50,
            deadline=None,
            print_blob=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
