"""The scripts against a plain model, in random histories, with scripts also run twice.

A client repeats a script whose reply was lost: a second run must answer the same and leave the
records as they were. After every step the invariants of the protocol hold.
"""

import json
import random
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from tests.unit.worker.ledger.conftest import CLOCK, commit_again
from tests.unit.worker.ledger.model import (
    BUDGET,
    CAP,
    COST,
    CREDITS,
    ENDS,
    LEASE,
    RUNNING,
    End,
    Model,
    ModelJob,
)
from worker.ledger.ledger import Ledger
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.model.submissions import NewJob
from worker.ledger.model.transitions import TRANSITIONS, Operation
from worker.ledger.payments import Payments
from worker.ledger.rows import Rows, RowSubmission

DUMP = """
local out = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind, found = redis.call('TYPE', key).ok, nil
  if kind == 'hash' then found = redis.call('HGETALL', key)
  elseif kind == 'zset' then found = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kind == 'list' then found = redis.call('LRANGE', key, 0, -1)
  elseif kind == 'set' then found = redis.call('SMEMBERS', key)
  else found = {redis.call('GET', key)} end
  out[#out + 1] = {key, kind, found}
end
return cjson.encode(out)
"""
COUNTED_TWICE = ("intents",)
"""Fields that count the runs of a script."""

jobs = st.integers(0, 5)
flag = st.booleans()
workers = st.sampled_from(["w1", "w2"])
stale = st.sampled_from([0, 0, 0, 1])
NEXT = ("preparing", "generating", "settling", "rendering", "delivering", "succeeded")
AFTER: dict[str, tuple[str, ...]] = {
    state: (state, after, *sorted(TRANSITIONS[Operation.COMMIT][State(state)] - {state, after}))
    for state, after in pairwise(NEXT)
}
"""What a step may commit: its own state, the next one, then the rest of the table."""


class Machine(RuleBasedStateMachine):
    """Histories of one account, one batch with a budget, and up to six jobs."""

    redis: ClassVar[Any]

    @initialize()
    def begin_empty(self) -> None:
        self.redis.flushdb()
        self.model = Model()
        self.redis.set("test:clock", self.model.now)
        self.ledger = Ledger(self.redis, "t", lease_seconds=LEASE / 1000, clock=CLOCK)
        self.payments = Payments(self.ledger)
        self.ledger.open_batch("b", "spring", 1)
        self.ledger.set_budget("b", BUDGET)
        self.payments.record_balance("a", read_at=1, available=CREDITS, frozen=0, total=CREDITS)
        self.nonces = 0
        self.verdicts: Counter[str] = Counter()
        self.states: dict[str, str] = {}
        self.row_job = ""
        self.ever_called: dict[str, str] = {}

    # --- running a script, and again ---------------------------------------------------------

    def run(self, script: Callable[[], Any], *, twice: bool, second: Any = None) -> Any:
        """Run a script, and if ``twice`` once more, as after a lost reply."""
        answer = script()
        if twice:
            before = self.dump()
            again = script()
            assert again == (answer if second is None else second.get(answer, answer))
            assert self.dump() == before
        return answer

    def dump(self) -> dict[str, Any]:
        """Return every record, as Python values."""
        found: dict[str, Any] = {}
        for key, kind, values in json.loads(self.redis.eval(DUMP, 0)):
            if kind in ("hash", "zset"):
                pairs = dict(zip(values[::2], values[1::2], strict=True)) if values else {}
                found[key] = {k: v for k, v in pairs.items() if k not in COUNTED_TWICE}
            else:
                found[key] = sorted(values) if kind == "set" else values
        return found

    def job(self, number: int) -> ModelJob:
        """Return an existing job, chosen by a number."""
        names = sorted(self.model.jobs)
        return self.model.jobs[names[number % len(names)]]

    def owned_job(self, number: int) -> ModelJob:
        """Return a job that a step owns, if there is one, else any."""
        owned = [job for _, job in sorted(self.model.jobs.items()) if job.owned]
        return owned[number % len(owned)] if owned else self.job(number)

    def nonce(self) -> str:
        self.nonces += 1
        return f"n{self.nonces}"

    def have_jobs(self) -> bool:
        return bool(self.model.jobs)

    def check_move(self, operation: Operation, name: str) -> None:
        """Check that the table lists the move that an operation has made, if any."""
        before, after = self.states[name], self.redis.hget(f"job:{{t}}:{name}", "state")
        assert after == before or after in TRANSITIONS[operation].get(State(before), ())
        self.states[name] = after

    # --- the steps of a history --------------------------------------------------------------

    @precondition(have_jobs)
    @rule(seconds=st.sampled_from([0.001, 1, 10, 31, 62, 400]))
    def later(self, seconds: float) -> None:
        self.model.now += int(seconds * 1000)
        self.redis.set("test:clock", self.model.now)

    @precondition(lambda self: len(self.model.jobs) < 6)
    @rule(in_batch=flag, priority=st.sampled_from(["high", "normal", "low"]), twice=flag)
    def submit(self, in_batch: bool, priority: str, twice: bool) -> None:
        name, batch = f"j{len(self.model.jobs)}", "b" if in_batch else ""
        new = NewJob(
            id=name, payload={}, fingerprint="f", priority=priority, key=name, batch_id=batch
        )
        answer = self.run(
            lambda: self.ledger.submit(new).verdict, twice=twice, second={"OK": "DUPLICATE"}
        )
        assert answer == "OK"
        self.model.jobs[name] = ModelJob(name, batch)
        self.states[name] = "queued"

    @precondition(lambda self: len(self.model.jobs) < 9)
    @rule(which=st.integers(0, 1), asks=st.integers(0, 2), redo=flag, twice=flag)
    def submit_row(self, which: int, asks: int, redo: bool, twice: bool) -> None:
        """Submit a row of a manifest, which may have changed since it was submitted last."""
        key, content = f"row{which}", f"content {which} {asks}"
        new = NewJob(
            id=key,
            payload={},
            fingerprint=content,
            key=key,
            batch_id="b",
            content=content,
            number=1,
        )
        submission = RowSubmission("b", self.nonce(), "m", redo=redo)
        known = self.model.rows.get(key, "")

        def script() -> str:
            ((answer,),) = Rows(self.ledger).submit_pages([[new]], submission)
            self.row_job = answer.job_id
            return answer.verdict

        written = dict.fromkeys(("OK", "REPLACED", "REMADE"), "DUPLICATE")
        verdict = self.run(script, twice=twice, second=written)
        assert verdict == self.model.submit_row(key, content, redo=redo)
        if known:
            self.check_move(Operation.CANCEL, known)
        if verdict in written:
            self.model.jobs[self.row_job] = ModelJob(self.row_job, "b", content=content)
            self.model.rows[key], self.states[self.row_job] = self.row_job, "queued"
        self.verdicts[verdict] += 1
        assert self.row_job == self.model.rows[key]

    @rule(
        admit=st.integers(0, 4),
        room=st.integers(0, 3),
        prepare=st.integers(0, 4),
        places=st.integers(0, 4),
    )
    def due(self, admit: int, room: int, prepare: int = 9, places: int = 9) -> None:
        before = {name: job.state for name, job in self.model.jobs.items()}
        # Jobs that are settling hold no place. No job here has a source, so each may pay soon.
        preparing = sum(state == "preparing" for state in before.values())
        at_work = preparing + sum(state == "generating" for state in before.values())
        found = self.ledger.due(10, room=room, admit=admit, prepare=prepare, places=places)
        assert len(found) <= room
        for name, state in found:
            self.check_move(Operation.DISPATCH, name)
            job = self.model.jobs[name]
            if before[name] == "queued":
                assert not (job.batch and self.model.paused)
                at_work += 1
                preparing += 1
                assert at_work <= min(admit, places)
                assert preparing <= max(1, prepare)
                job.state = "preparing"
            assert state == job.state

    @precondition(have_jobs)
    @rule(which=jobs, owner=workers, twice=flag)
    def claim(self, which: int, owner: str, twice: bool) -> None:
        job, nonce = self.job(which), self.nonce()

        def script() -> tuple[str, str | None]:
            claim = self.ledger.claim(job.id, owner, nonce)
            return claim.verdict, claim.fence if claim.record else None

        # The second run of a claim that held the job finds it held.
        second = {("POISON", None): ("GONE", None)}
        verdict, fence = self.run(script, twice=twice, second=second)
        self.check_move(Operation.CLAIM, job.id)
        assert verdict == self.model.claim(job, owner, nonce)
        if verdict == "OK":
            assert fence == job.held_under()
            assert self.ledger.update_facts(job.id, job.held_under(), {"account": "a"})

    @precondition(have_jobs)
    @rule(which=jobs, back=stale, step=st.sampled_from([0, 0, 0, 1, -1]), other=flag, twice=flag)
    def begin_paid(self, which: int, back: int, step: int, other: bool, twice: bool) -> None:
        job = self.owned_job(which)
        fence, turn = job.held_under(back), max(1, job.turn + step)
        call = f"{job.id}:{turn}:{job.fence}" + ("x" if other else "")
        self.pay(job, fence, turn, call, twice)

    def pay(self, job: ModelJob, fence: str, turn: int, call: str, twice: bool) -> None:
        """Begin a paid message."""
        verdict = self.run(
            lambda: (
                self.payments.begin(job.id, fence, turn=turn, call=call, cost=COST, cap=CAP).verdict
            ),
            twice=twice,
        )
        self.verdicts[verdict] += 1
        expected = self.model.begin(job, fence, turn, call)
        assert verdict == expected
        if verdict == "OK":
            assert self.ever_called.setdefault(f"{job.id}:{turn}", call) == call

    @precondition(have_jobs)
    @rule(
        which=jobs,
        what=st.sampled_from(["heartbeat", "accepted", "ended", "release_paid"]),
        back=stale,
        twice=flag,
    )
    def at_work(self, which: int, what: str, back: int, twice: bool) -> None:
        """Do what a step does before its end."""
        job = self.owned_job(which)
        fence = job.held_under(back)
        match what:
            case "heartbeat":
                kept = self.run(lambda: self.ledger.heartbeat([(job.id, fence)]), twice=twice)
                assert kept == [self.model.heartbeat(job, fence)]
            case "release_paid":
                call = job.call or next(iter(job.released), "none")
                done = self.run(
                    lambda: self.payments.release(job.id, call, "rate_limited"),
                    twice=twice,
                )
                assert done == self.model.release_paid(job, call)
                if done:
                    self.ever_called.pop(f"{job.id}:{job.turn}", None)
            case _:
                self.fact(job, what, twice)

    def fact(self, job: ModelJob, name: str, twice: bool) -> None:
        """Record a result of the newest message, which needs no fence."""
        turn = max(job.calls, default=0)
        call = job.calls.get(turn, f"{job.id}:foreign")
        known = self.redis.hexists(f"job:{{t}}:{job.id}", f"fact:{call}:{name}")
        mine = self.run(lambda: self.payments.record_fact(job.id, call, name, "1"), twice=twice)
        assert mine == (turn > 0)
        if mine and name == "ended":
            self.model.end_call(call)
        if mine and name == "accepted" and not known:
            self.model.accepted()

    @precondition(have_jobs)
    @rule(
        which=jobs,
        back=stale,
        to=st.integers(0, 5),
        reason=st.sampled_from(["credits", "outcome_unknown", "question", "plan", "session_lost"]),
        asks=flag,
        delay=st.sampled_from([0, 0, 5]),
        continues=flag,
        twice=flag,
    )
    def commit(  # noqa: PLR0917 - hypothesis passes by name
        self,
        which: int,
        back: int,
        to: int,
        reason: str,
        asks: bool,
        delay: int,
        continues: bool,
        twice: bool,
    ) -> None:
        job, following = self.owned_job(which), self.nonce() if continues and not delay else ""
        fence = job.held_under(back)
        self.end(job, fence, to, reason, asks=asks, delay=delay, following=following, twice=twice)

    def end(
        self,
        job: ModelJob,
        fence: str,
        to: int,
        reason: str,
        *,
        asks: bool,
        delay: int,
        following: str = "",
        twice: bool,
    ) -> None:
        """End a step, and continue with the next one in the claim named `following`."""
        if reason == "outcome_unknown" and job.state in {"rendering", "delivering"}:
            reason = "plan"  # these steps never commit the other one
        after = AFTER.get(job.state, ("rendering",))
        state, nonce = State(after[to % len(after)]), self.nonce()
        if state is State.PREPARING and job.call:
            state = State.GENERATING if job.state == "preparing" else State.SETTLING
        outcome = "question" if asks and job.call and state is State.GENERATING else ""
        facts = {"draft": "{}"} if state is State.RENDERING else {}
        why = reason if state is State.HELD else "render_failed" if state is State.FAILED else ""
        end = Commit(
            state,
            delay=delay,
            reason=Reason(why) if why else None,
            resume=State(job.state) if job.state in RUNNING else None,
            outcome=outcome,
            facts=facts,
        )
        verdict = self.run(
            lambda: commit_again(self.ledger, job.id, fence, end, nonce, following=following),
            twice=twice,
        )
        self.check_move(Operation.COMMIT, job.id)
        model_end = End(state, why, outcome, delay * 1000, following)
        assert verdict == self.model.commit(job, fence, nonce, model_end)
        if verdict != "LOST" and facts:
            job.draft = True

    @precondition(have_jobs)
    @rule(
        which=jobs,
        request=st.sampled_from(
            ["release", "as_done", "pay_again", "retry", "acknowledge", "cancel"]
        ),
        back=stale,
        twice=flag,
    )
    def person(self, which: int, request: str, back: int, twice: bool) -> None:
        """Do what users, and the outbox, do with a job."""
        job, ledger = self.job(which), self.ledger
        match request:
            case "cancel":
                again = {"CANCELLED": "ENDED"}
                verdict = self.run(lambda: ledger.cancel(job.id), twice=twice, second=again)
                self.check_move(Operation.CANCEL, job.id)
                assert verdict == self.model.cancel(job)
            case "retry":
                again = {"OK": "NOT_FAILED"}
                verdict = self.run(lambda: ledger.retry(job.id), twice=twice, second=again)
                self.check_move(Operation.RETRY, job.id)
                assert verdict == self.model.retry(job)
            case "acknowledge":
                entry, revision = f"job:{job.id}", job.revision - back
                self.run(lambda: ledger.acknowledge_notification(entry, revision), twice=twice)
                waits = self.redis.zscore("outbox:{t}", entry) is not None
                assert not waits or (back and job.revision)
            case _:
                mode = "" if request == "release" else request
                verdict = self.run(
                    lambda: ledger.release(job.id, mode=mode, who="t"),
                    twice=twice,
                    second={"OK": "NOT_HELD"},
                )
                self.check_move(Operation.RELEASE, job.id)
                assert verdict == self.model.release(job, mode)

    @precondition(have_jobs)
    @rule(
        what=st.sampled_from(["balance", "balance", "429", "recover", "plan", "pause", "resume"]),
        twice=flag,
    )
    def world(self, what: str, twice: bool) -> None:
        """Read the balance, record a 429, or pause or resume the batch."""
        model = self.model
        match what:
            case "balance":
                model.record_balance()
                self.run(
                    lambda: self.payments.record_balance(
                        "a", read_at=model.now, available=model.base, frozen=0, total=model.base
                    ),
                    twice=twice,
                )
            case "429":
                self.run(lambda: self.payments.record_rate_limited("a", 1), twice=twice)
                model.rate_limited(1000)
            case "plan":
                model.plan_refused = not model.plan_refused
                record = (
                    self.payments.record_plan_refused
                    if model.plan_refused
                    else self.payments.clear_plan_refused
                )
                record("a")
            case "recover":
                self.run(lambda: self.payments.recover_window("a"), twice=twice)
                model.recover_window()
            case _:
                gate = self.ledger.pause if what == "pause" else self.ledger.resume
                assert self.run(lambda: gate("b"), twice=twice)
                model.paused = what == "pause"

    # --- what a healthy service does, so that jobs advance -----------------------------

    @precondition(have_jobs)
    @rule(which=jobs, choices=st.lists(st.integers(0, 9), min_size=1, max_size=4), twice=flag)
    def live(self, which: int, choices: list[int], twice: bool) -> None:
        """Do the next step of a job, up to four times."""
        for choice in choices:
            self.next_step(self.job(which), choice, twice)

    @precondition(have_jobs)
    @rule(which=jobs, choices=st.lists(st.integers(0, 9), min_size=1, max_size=4), twice=flag)
    def live_on(self, which: int, choices: list[int], twice: bool) -> None:
        """As ``live``, so that these steps are the most frequent ones."""
        self.live(which, choices, twice)

    def next_step(self, job: ModelJob, choice: int, twice: bool) -> None:
        """Do one step, mostly a successful one."""
        which = sorted(self.model.jobs).index(job.id)
        if job.state == "queued":
            self.due(admit=9, room=9)
        elif job.state not in RUNNING:
            requests = ("release", "as_done", "pay_again", "retry", "acknowledge")
            self.person(which, requests[choice % len(requests)], 0, twice)
        elif not job.owned:
            self.claim(which, "w1", twice)
        elif job.state == "generating" and not job.call:
            self.pay(job, job.held_under(), job.turn, f"{job.id}:{job.turn}:{job.fence}", twice)
        elif job.state == "generating" and choice < 3:
            self.fact(job, "accepted" if choice else "ended", twice)
        else:
            last = len(AFTER[job.state]) - 1
            to = {0: last, 1: last - 1, 2: 2}.get(choice, 1)
            reason = ("credits", "outcome_unknown", "question", "session_lost")[choice % 4]
            self.end(job, job.held_under(), to, reason, asks=choice == 2, delay=0, twice=twice)

    # --- what holds after every step ---------------------------------------------------------

    @invariant()
    def check_protocol(self) -> None:
        found = self.dump()
        self._each_job_is_in_one_place(found)
        self._records_are_as_the_model_says(found)
        self._counters_add_up(found)
        self._money_adds_up(found)

    def _each_job_is_in_one_place(self, found: dict[str, Any]) -> None:
        for name, job in self.model.jobs.items():
            places = ["agenda"] if name in found.get("agenda:{t}", {}) else []
            for key, values in found.items():
                if key.startswith("flow:") and name in values:
                    places += ["flow"] * values.count(name)
                if key.startswith("held:") and name in values:
                    places.append(key.rsplit(":", 1)[1])
            expected = "flow" if job.state == "queued" else "agenda"
            expected = job.reason if job.state == "held" else expected
            assert places == ([] if job.state in ENDS else [expected])

    def _records_are_as_the_model_says(self, found: dict[str, Any]) -> None:
        outbox = found.get("outbox:{t}", {})
        for name, job in self.model.jobs.items():
            record = found[f"job:{{t}}:{name}"]
            assert (record["state"], record.get("reason", "")) == (job.state, job.reason)
            assert (int(record["fence"]), int(record["turn"])) == (job.fence, job.turn)
            assert record.get("owner", "") == job.owner
            calls = {
                int(key[5:]): value for key, value in record.items() if key.startswith("call:")
            }
            assert calls == job.calls
            assert int(record["paid"]) == len(calls)
            # A cost that is measured after the end is notified once more.
            notified_again = int(record.get("revision", 0)) - job.revision
            assert notified_again in ((0, 1) if job.ever_ended and job.ever_paid else (0,))
            job.revision += notified_again
            assert f"job:{name}" not in outbox or job.revision

    def _counters_add_up(self, found: dict[str, Any]) -> None:
        for key, batch in (("counts:{t}", None), ("batch:{t}:b", "b")):
            mine = [
                job
                for job in self.model.jobs.values()
                if batch is None or (batch == job.batch and not job.replaced)
            ]
            states = Counter(f"n:{job.state}" for job in mine)
            reasons = Counter(f"h:{job.reason}" for job in mine if job.state == "held")
            kept = {
                field: int(value)
                for field, value in found.get(key, {}).items()
                if field[:2] in ("n:", "h:") and int(value)
            }
            assert kept == dict(states + reasons)
        current = {job.id for job in mine}
        assert set(found.get("rows:{t}:b", {})) == current, "each row has one job"

    def _money_adds_up(self, found: dict[str, Any]) -> None:
        account, model = found["account:{t}:a"], self.model
        assert set(found.get("reserved:{t}:a", {})) == model.reserved
        assert float(account["reserved"]) == COST * len(model.reserved)
        assert float(account["reserved"]) <= float(account["base"])
        spent = COST * len(model.charged)
        assert float(account.get("spent", 0)) == spent
        assert float(account["base"]) >= CREDITS - spent - COST * len(model.ended)
        slots = found.get("slots:{t}:a", {})
        alive = {call for call, until in slots.items() if float(until) > model.now}
        assert alive == {call for call, until in model.slots.items() if until > model.now}
        assert len(alive) <= CAP
        assert float(found["batch:{t}:b"].get("committed", 0)) == model.committed("b") <= BUDGET
        assert float(account.get("window", 5)) == pytest.approx(model.window)


@pytest.mark.long
def test_random_histories_keep_the_invariants(redis: Redis) -> None:
    """200 histories of 50 steps; a failure prints its steps."""
    Machine.redis = redis
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=200,
            stateful_step_count=50,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
        ),
    )


SEEN = {"OK", "ALREADY", "CLOSED", "COOLING", "NO_SLOT", "NO_CREDIT", "BUDGET"}
"""Verdicts of begin_paid that the walks must have met."""


def walk(machine: Machine, chance: random.Random) -> None:
    """Run one long history, longer than a history that hypothesis can shrink."""
    machine.begin_empty()
    for _ in range(150):
        which, twice = chance.randrange(6), chance.random() < 0.3
        match chance.randrange(24):
            case 0 | 1 if len(machine.model.jobs) < 6:
                priority = chance.choice(["high", "normal", "low"])
                machine.submit(in_batch=chance.random() < 0.7, priority=priority, twice=twice)
            case 0 | 1 if len(machine.model.jobs) < 12:
                machine.submit_row(which % 2, chance.randrange(3), chance.random() < 0.5, twice)
            case _ if not machine.model.jobs:
                continue
            case 2:
                machine.later(chance.choice([0.001, 1, 10, 31, 62, 400]))
            case 3:
                machine.world(
                    chance.choice(["balance", "balance", "429", "pause", "resume"]), twice
                )
            case 4:
                requests = ["release", "as_done", "pay_again", "retry", "acknowledge", "cancel"]
                machine.person(which, chance.choice(requests), chance.randrange(2), twice)
            case 5:
                what = chance.choice(["heartbeat", "accepted", "ended", "release_paid"])
                machine.at_work(which, what, chance.choice([0, 0, 1]), twice)
            case 6:
                machine.begin_paid(
                    which, chance.choice([0, 1]), chance.choice([0, 1, -1]), True, twice
                )
            case 7:
                machine.due(admit=chance.randrange(5), room=chance.randrange(4))
            case 8:
                machine.claim(which, "w2", twice)
            case _:
                machine.live(which, [chance.randrange(10) for _ in range(3)], twice)
        machine.check_protocol()


@pytest.mark.long
def test_long_histories_keep_the_invariants(redis: Redis, seed: int) -> None:
    """At least 20 walks of 150 steps, and more until all verdicts were met."""
    Machine.redis = redis
    chance = random.Random(seed)
    verdicts: Counter[str] = Counter()
    for number in range(100):
        machine = Machine()
        walk(machine, chance)
        verdicts += machine.verdicts
        if number >= 19 and verdicts.keys() >= SEEN:
            return
    pytest.fail(f"verdicts never met: {SEEN - verdicts.keys()}")
