"""A job on a ledger that a test can restore to an earlier moment, as a backup does."""

import json
from collections.abc import Mapping
from dataclasses import replace
from uuid import uuid4

from tasks.producer import actions
from tasks.producer.producer import Producer
from tasks.stages.adoption import attempt_number
from tasks.stages.generate import generate
from tasks.stages.prepare import prepare
from tasks.stages.sending_right import SendingRight
from tasks.stages.settle import settle
from tasks.step.context import StepContext
from tasks.step.credentials import job_credential
from tests.support.api_responses import state_envelope
from tests.support.ledger_copies import copy_ledger, put_back
from tests.unit.tasks.stages.conftest import SESSION, Worker
from tests.unit.worker.loopback_server import Server, json_reply
from tests.unit.worker.nemo.test_draft import segment, track
from worker.ledger.model.jobs import Job
from worker.ledger.model.states import Reason, State
from worker.ledger.model.steps import Commit
from worker.reconciliation import new_entry
from worker.recovery.job_restorer import Counts, JobRestorer

STAGES = {State.PREPARING: prepare, State.GENERATING: generate, State.SETTLING: settle}
HELD = Commit(
    State.HELD,
    reason=Reason.OUTCOME_UNKNOWN,
    resume=State.SETTLING,
    message="unknown",
    remedy="decide",
)


class Rollback:
    """One job, whose messages a test sends without the API."""

    def __init__(self, worker: Worker, server: Server) -> None:
        self.worker, self.server, self.runtime = worker, server, worker.runtime
        self.runtime.status.journal_failures = ()
        self.redis = self.runtime.ledger.redis
        self._saved: Mapping[bytes, bytes] = {}

    # --- losing records ----------------------------------------------------------------------

    def save(self) -> None:
        """Copy the ledger, as a backup does."""
        self._saved = copy_ledger(self.redis)

    def restore(self) -> None:
        """Put the copy in the ledger's place. No worker has noticed it yet."""
        put_back(self.redis, self._saved)

    def expire_lease(self) -> None:
        self.redis.hset("job:{rq}:j", mapping={"lease": 1, "not_before": 0})

    def recover(self) -> Counts:
        """Run a recovery, and let the worker know of it."""
        restorer = JobRestorer(self.runtime.ledger, self.runtime.journal, self.runtime.output)
        for page in self.runtime.journal.pages():
            restorer.restore_page(page)
        self.runtime.status.recovered_at = self.runtime.ledger.now_ms()
        return restorer.counts

    # --- steps -------------------------------------------------------------------------------

    def claim(self) -> StepContext:
        ledger = self.runtime.ledger
        ledger.due(10, room=10, admit=10)
        self.redis.hset("job:{rq}:j", "not_before", 0)
        claim = ledger.claim("j", "w", uuid4().hex)
        assert claim.verdict == "OK"
        return self.worker.context(self.job(), claim.fence)

    def commit(self, step: StepContext, end: Commit) -> bool:
        facts = {**step.noted, **(end.facts or {})}
        step.noted.clear()
        return self.runtime.ledger.commit("j", step.lease.fence, replace(end, facts=facts))

    def run(self, steps: int) -> None:
        """Run up to this many real steps, while the job is in a stage that uses its session."""
        for _ in range(steps):
            state = self.job().state
            if state is not State.QUEUED and state not in STAGES:
                return
            step = self.claim()
            self.commit(step, STAGES[step.job.state](step))

    # --- what steps do ------------------------------------------------------------------------

    def prepare(self) -> None:
        """Commit the preparing stage, whose record keeps the number of the next attempt."""
        step = self.worker.claim()
        assert isinstance(attempt_number(step), int)
        facts = {"account": self.worker.account, "session_id": SESSION, "task_id": "t"}
        self.commit(step, Commit(State.GENERATING, facts={**facts, "uploaded": "1"}))

    def begin(self, step: StepContext, attempt: int = 1) -> SendingRight:
        """Write the intent to pay, with the session's present state as the baseline."""
        job = step.job
        with self.runtime.open_client(job_credential(step).token) as client:
            step.note_facts(baseline=client.state(SESSION).fingerprint)
        call = f"j:{job.turn}:{job.fence}:{uuid4().hex[:12]}"
        begun = self.runtime.payments.begin(
            "j",
            step.lease.fence,
            turn=job.turn,
            call=call,
            cost=100,
            cap=9,
            session_id=job.facts["session_id"],
            attempt=attempt,
            journal_id=self.runtime.journal.id(),
            facts=dict(step.noted),
        )
        assert begun.verdict == "OK"
        step.noted.clear()
        step.use_record(self.job())
        now = self.runtime.ledger.now_ms()
        entry = new_entry(step.job, call=call, attempt=attempt, created_at=now, price=100)
        return SendingRight(step, entry)

    def pay(self, attempt: int = 1) -> str:
        """Send the turn's message with a new claim, and return its call."""
        right = self.begin(self.claim(), attempt)
        assert right.create()
        return right.entry.call

    def end_stream(self, call: str, reply: str, *, clean: bool = True) -> None:
        """Record what the stream of a message contained."""
        facts = {"stream": json.dumps({"clean": clean, "reply": reply}), "ended": "clean"}
        assert self.runtime.payments.record_facts("j", call, facts)

    def ask(self) -> str:
        """Pay for turn 1, whose message is answered by a question; the job then generates."""
        self.prepare()
        call = self.pay()
        self.end_stream(call, "Which length do you want?")
        self.expire_lease()
        self.run(3)
        job = self.job()
        assert (job.state, job.turn) == (State.GENERATING, 2)
        return call

    def hold(self) -> None:
        """Hold the job, because it is unknown whether its message was charged."""
        self.expire_lease()
        self.commit(self.claim(), HELD)

    def decide(self, mode: str) -> None:
        producer = Producer.from_runtime(self.runtime)
        assert actions.release(producer, "j", mode=mode, who="me").changed == 1

    def pay_again(self, attempt: int = 2) -> str:
        """Pay for another turn by a person's decision, and return its call."""
        self.decide("pay_again")
        step = self.claim()
        assert attempt_number(step) == attempt
        self.commit(step, Commit(State.GENERATING))
        return self.pay(attempt)

    # --- what is there --------------------------------------------------------------------------

    def show_draft(self) -> None:
        """Let the session show a finished draft from now on."""
        draft = {"t": [track(0, segment(2000))]}
        path = f"GET /api/state/nemo_agent/me/{SESSION}/latest"
        self.server.on(path, json_reply(state_envelope(draft=draft)))

    def job(self) -> Job:
        return self.worker.job()

    def outcomes(self) -> list[str]:
        """The outcomes of all turns before the current one."""
        names = [f"outcome:{number}" for number in range(1, self.job().turn)]
        return [value or "" for value in self.redis.hmget("job:{rq}:j", names)] if names else []

    def check_payments(self) -> None:
        """Check that the record has the payments of the journal, and counts them."""
        attempts = self.runtime.journal.attempts("j")
        charged = [each.entry.call for each in attempts if each.entry and each.may_be_charged]
        job = self.job()
        assert [turn.call for turn in job.turns] == charged
        assert job.number("paid") == len(charged)
        assert set(self.outcomes()) <= {"question", "pay_again"}
