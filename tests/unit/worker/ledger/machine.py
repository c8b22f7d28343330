"""Random histories of a ledger: each rule runs a script, and does the same to the model."""

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tests.unit.worker.ledger.conftest import CLOCK, commit_again
from tests.unit.worker.ledger.model import (
    BUDGET,
    CAP,
    COST,
    CREDITS,
    LEASE,
    RUNNING,
    End,
    Model,
    ModelJob,
)
from tests.unit.worker.ledger.record_checks import check_records, dump
from worker.ledger.ledger import Ledger
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.ledger.model.submissions import NewJob
from worker.ledger.model.transitions import TRANSITIONS, Operation
from worker.ledger.payments import Payments
from worker.ledger.polls import Polls
from worker.ledger.rows import Rows, RowSubmission

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


RENDER_FACTS = {"draft": "{}", "render_id": "r", "render_submitted": "1"}


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
            before = dump(self.redis)
            again = script()
            assert again == (answer if second is None else second.get(answer, answer))
            assert dump(self.redis) == before
        return answer

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
            manifest_row=1,
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
        # Jobs that are settling hold no place. No job here has a source, so each may pay soon, and
        # the limit on preparing holds none back.
        at_work = sum(state in ("preparing", "generating") for state in before.values())
        found = self.ledger.due(10, room=room, admit=admit, prepare=prepare, places=places)
        assert len(found) <= room
        for name, state in found:
            self.check_move(Operation.DISPATCH, name)
            job = self.model.jobs[name]
            if before[name] == "queued":
                assert not (job.batch and self.model.paused)
                at_work += 1
                assert at_work <= min(admit, places)
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
        what=st.sampled_from(["heartbeat", "accepted", "ended", "withdraw_intent"]),
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
            case "withdraw_intent":
                turn = min(job.calls, default=job.turn) if back else job.turn
                call = job.calls.get(turn) or next(iter(job.released), "none")
                done = self.run(
                    lambda: self.payments.withdraw(job.id, call, "rate_limited"),
                    twice=twice,
                )
                assert done == self.model.withdraw_intent(job, call)
                self.check_move(Operation.WITHDRAW, job.id)
                if done:
                    self.ever_called.pop(f"{job.id}:{turn}", None)
            case _:
                self.fact(job, what, twice)

    def fact(self, job: ModelJob, name: str, twice: bool) -> None:
        """Record a result of the newest message, which needs no fence."""
        turn = max(job.calls, default=0)
        call = job.calls.get(turn, f"{job.id}:foreign")
        known = self.redis.hexists(f"job:{{t}}:{job.id}", f"fact:{call}:{name}")
        mine = self.run(lambda: self.payments.record_facts(job.id, call, {name: "1"}), twice=twice)
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
        facts = RENDER_FACTS if state is State.RENDERING else {}
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
        submitted, job.submitted = job.submitted, job.submitted or bool(facts)
        model_end = End(state, why, outcome, delay * 1000, following)
        assert verdict == self.model.commit(job, fence, nonce, model_end)
        if verdict == "LOST":
            job.submitted = submitted
        elif facts:
            job.draft = True

    @precondition(have_jobs)
    @rule(owner=workers, most=st.integers(1, 3), twice=flag)
    def claim_polls(self, owner: str, most: int, twice: bool) -> None:
        """Claim due polls in a group."""
        nonce = self.nonce()
        found = self.run(lambda: Polls(self.ledger).claim(owner, nonce, most).polls, twice=twice)
        assert [poll.job_id for poll in found] == self.model.claim_polls(owner, nonce, most)
        assert all(self.model.jobs[p.job_id].held_under() == p.fence for p in found)
        self.verdicts["polls claimed"] += len(found)

    @precondition(have_jobs)
    @rule(back=stale, delay=st.sampled_from([1, 5, 30]), twice=flag)
    def commit_polls(self, back: int, delay: int, twice: bool) -> None:
        """End the polls of all jobs in a group, whoever owns them."""
        ends = [
            (job.id, job.held_under(back), delay * 1000, 1)
            for _, job in sorted(self.model.jobs.items())
        ]
        arguments = [value for end in ends for value in end]
        found = self.run(lambda: self.ledger.scripts.run("commit_polls", *arguments), twice=twice)
        expected = [
            self.model.commit_poll(self.model.jobs[name], fence, ms) for name, fence, ms, _ in ends
        ]
        assert found == expected
        self.verdicts["polls committed"] += found.count("OK")

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
                self.run(lambda: ledger.acknowledge_notifications([(entry, revision)]), twice=twice)
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
                self.run(lambda: self.payments.grow_window("a"), twice=twice)
                model.grow_window()
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
            to = {0: last, 1: last - 1, 2: 2, 3: 0}.get(choice, 1)
            reason = ("credits", "outcome_unknown", "question", "session_lost")[choice % 4]
            delay = 5 if choice == 3 else 0
            self.end(job, job.held_under(), to, reason, asks=choice == 2, delay=delay, twice=twice)

    # --- what holds after every step ---------------------------------------------------------

    @invariant()
    def check_protocol(self) -> None:
        check_records(self.model, dump(self.redis))
