"""The poller of a worker process: claims, makes and commits the polls of renders in groups.

If the render is not finished, the poll is committed without a reading of the job's record. After
any other answer, a step runs on the record, as all other steps do, in the same claim.
"""

import random
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import uuid4

import sentry_sdk
import structlog
from redis.exceptions import RedisError

from tasks.stages.render import PollAnswer, is_polled_again, render, render_after_poll
from tasks.step.runner import MAX_STEP_SECONDS, JobFailedError, Stage, run_claimed_step
from worker.accounts.credentials import AccountCoolingDownError, Credential
from worker.ledger.model.states import State
from worker.ledger.polls import DuePoll, PollEnd, Polls
from worker.nemo.responses import RenderStatus
from worker.resources.daemon_threads import DaemonThreads
from worker.runtime.leases import Lease
from worker.runtime.runtime import Runtime
from worker.telemetry.metrics import LOST, STEPS

log = structlog.get_logger(__name__)

SWEEP_SECONDS: Final = 0.1
"""Interval at which polls are committed and claimed while some are due."""
MAX_IDLE_SECONDS: Final = 1.0
"""The longest interval between claims while no poll is due."""
IDLE_SHARE: Final = 0.1
"""The same as a share of the interval of the polls, before which no new poll is due."""
MAX_POLLS: Final = 512
"""The most polls that a process makes at the same time. The API may take long to answer."""
GROUP_SIZE: Final = 256
"""The most polls that one script claims or commits."""


@dataclass(frozen=True, slots=True)
class MadePoll:
    """A poll that waits for its commit, with its lease."""

    end: PollEnd
    lease: Lease


class Poller:
    """Makes the polls of a worker process."""

    def __init__(self, runtime: Runtime) -> None:
        timing = runtime.settings.timing
        self._runtime = runtime
        self._polls = Polls(runtime.ledger)
        self._interval = timing.render_poll_seconds
        self._max_polls = timing.render_max_polls
        self._cool_down = timing.rate_limit_seconds
        self._idle = max(SWEEP_SECONDS, min(MAX_IDLE_SECONDS, self._interval * IDLE_SHARE))
        self._threads = DaemonThreads("poll")
        self._running: set[Lease] = set()
        self._made: deque[MadePoll] = deque()
        self._committing: list[MadePoll] = []
        self._nonce = ""
        self._next_claim = 0.0

    def sweep(self) -> None:
        """Commit the polls that were made, and start those that are due.

        Raises:
            RedisError: The ledger cannot be reached. The next sweep repeats the call.
        """
        self.commit()
        status = self._runtime.status
        # A call without a reply may have claimed polls.
        may_claim = status.has_polls or bool(self._nonce)
        if status.takes_jobs and may_claim and time.monotonic() >= self._next_claim:
            self._claim()
        self._runtime.http_clients.close_idle()

    def commit(self) -> None:
        """Commit the polls that were made and whose renders are not finished."""
        while self._made or self._committing:
            # Kept until the call has succeeded, so that it can be repeated.
            while self._made and len(self._committing) < GROUP_SIZE:
                self._committing.append(self._made.popleft())
            for made in self._committing:
                made.lease.is_ending = True
            committed = self._polls.commit([made.end for made in self._committing])
            for made in self._committing:
                self._runtime.leases.drop(made.lease)
            self._committing = []
            lost = committed.count(False)
            STEPS.labels(State.RENDERING, State.RENDERING).inc(len(committed) - lost)
            if lost:
                STEPS.labels(State.RENDERING, LOST).inc(lost)
            log.debug("polls done", polls=len(committed), lost=lost)

    @property
    def is_idle(self) -> bool:
        """Whether no poll is running or waits for its commit."""
        return not (self._running or self._made or self._committing)

    def close(self) -> None:
        """End the threads."""
        self._threads.close()

    def _claim(self) -> None:
        free = min(MAX_POLLS - len(self._running), GROUP_SIZE)
        if free <= 0:
            return
        # Kept until a call has succeeded, which also returns the polls of a call without a reply.
        self._nonce = self._nonce or uuid4().hex
        group = self._polls.claim(self._runtime.owner, self._nonce, free)
        self._nonce = ""
        wait = self._idle if group.next_due is None else min(self._idle, group.next_due)
        self._next_claim = time.monotonic() + wait
        names = {poll.account for poll in group.polls}
        credentials = {name: self._credential(name) for name in names}
        for poll in group.polls:
            self._start(poll, credentials)

    def _credential(self, name: str) -> Credential | AccountCoolingDownError | None:
        """Return the credential of an account, or the error that the account is cooling down.

        Returns:
            None if a step must find the credential: Redis did not answer, the account was removed,
            or it has another name because its token was replaced.
        """
        try:
            return self._runtime.accounts.known_credential(name)
        except AccountCoolingDownError as error:
            return error
        except RedisError:
            return None

    def _start(
        self,
        poll: DuePoll,
        credentials: Mapping[str, Credential | AccountCoolingDownError | None],
    ) -> None:
        lease = self._runtime.leases.take(poll.job_id, poll.fence, MAX_STEP_SECONDS)
        found = credentials[poll.account]
        if isinstance(found, AccountCoolingDownError):
            # Spread over one more pause, so that the polls are not all due at the same time.
            stagger = random.uniform(0, self._cool_down)  # noqa: S311 - not used for security
            end = PollEnd(poll.job_id, poll.fence, found.wait + stagger, None)
            self._made.append(MadePoll(end, lease))
            return
        self._running.add(lease)
        if found is None:
            self._threads.run(partial(self._run_step, lease, render))
        else:
            self._threads.run(partial(self._make, poll, lease, found))

    def _make(self, poll: DuePoll, lease: Lease, credential: Credential) -> None:
        """Make a poll. If the render is not finished, the next commit includes the poll."""
        found: RenderStatus | Exception
        try:
            with self._runtime.open_client(credential.token) as client:
                found = client.render_status(poll.render_id)
        except Exception as error:  # noqa: BLE001 - the step decides what follows
            found = error
        polls = poll.polls + 1
        if isinstance(found, RenderStatus) and is_polled_again(found, polls, self._max_polls):
            end = PollEnd(poll.job_id, poll.fence, self._interval, polls)
            self._made.append(MadePoll(end, lease))
            self._running.discard(lease)
        else:
            answer = PollAnswer(found, credential.token_id)
            self._run_step(lease, lambda step: render_after_poll(step, answer))

    def _run_step(self, lease: Lease, stage: Stage) -> None:
        """Run the step of a claimed poll on its record. The next stage needs a wake-up message."""
        self._runtime.leases.drop(lease)
        try:
            with suppress(JobFailedError):
                stages = {State.RENDERING: stage}
                run_claimed_step(self._runtime, lease.job_id, lease.fence, stages)
        except Exception as error:
            # The job is dispatched again after its lease.
            log.exception("poll failed", job_id=lease.job_id)
            sentry_sdk.capture_exception(error)
        finally:
            self._running.discard(lease)
