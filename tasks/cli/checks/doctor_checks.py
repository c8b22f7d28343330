"""The checks of ``reelqueue doctor``. Remedies are printed only for checks that failed."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Final

import httpx
from redis.exceptions import RedisError

from config.settings import Settings
from config.unknown_variables import unknown_variables
from tasks.cli.checks.account_checks import check_accounts, check_jobs, check_tokens
from tasks.producer.messages import DEFAULT_QUEUE, misplaced_submissions
from tasks.producer.producer import Producer
from tasks.schema.errors import RedisUnavailable
from worker.broker.startup_check import connection_problem
from worker.egress.errors import WrongEnvironmentError
from worker.egress.proxies import environment_problems
from worker.intake.set_aside import SetAsideMessages
from worker.journal.stores import JournalFailed
from worker.ledger.connections.clients import connect_without_retries
from worker.ledger.model.accounts import Account
from worker.ledger.problems import current_problems
from worker.nemo.http.transport import open_http
from worker.recovery.identity_guard import IdentityGuard
from worker.recovery.unreadable_entries import UnreadableEntries
from worker.runtime.checks.durability import (
    IDENTITY,
    NOT_COMPARED,
    CheckResult,
    check_durability,
    check_journal,
    describe,
)
from worker.runtime.checks.identity_check import identity_result
from worker.runtime.checks.replication import check_failover
from worker.runtime.checks.store_ids import check_same_store, other_stores
from worker.runtime.worker_registry import announced_accounts, live_workers
from worker.storage.errors import StoreError
from worker.storage.store import Store
from worker.telemetry.start_blockage import payment_obstacles, payments_stopped, start_blockage

API_SECONDS: Final = 5.0
BROKER_SECONDS: Final = 5.0
OUTBOX_LATE_SECONDS: Final = 120
"""Age of a due notification that means that notifications are not sent."""
SUBMISSION_SECONDS: Final = 900
"""Age of an incomplete manifest that means that its submission has stopped."""
WATCH_SECONDS: Final = 3600.0
"""Longer than this process runs: it is too short to see that nobody renews the mirror."""
MAX_LISTED: Final = 5
"""Batches or records that one check names."""


def run_checks(producer: Producer) -> Iterator[CheckResult]:
    """Check every part of the service, those that others depend on first."""
    redis = _redis(producer)
    yield redis
    if redis.ok:
        with producer.redis_errors():
            yield from check_durability(producer.ledger, producer.settings.redis.durability)
            has_sentinel = bool(producer.settings.redis.address.master)
            yield check_failover(producer.ledger, has_sentinel=has_sentinel)
    broker = _broker(producer.settings)
    yield broker
    yield _store(producer, "media", producer.media, has_redis=redis.ok)
    yield _store(producer, "output", producer.output, has_redis=redis.ok)
    journal = check_journal(producer.journal)
    yield journal
    if redis.ok and journal.ok:
        with producer.redis_errors():
            yield _identity(producer)
    if redis.ok:
        with producer.redis_errors():
            yield _workers(producer)
            yield _problems(producer)
            yield _starts(producer)
            yield _outbox(producer)
            yield _manifests(producer)
            yield _records(producer)
            yield _entries(producer)
            yield _messages(producer, with_broker=broker.ok)
            yield check_accounts(producer)
            yield check_jobs(producer)
    yield _environment(producer.settings)
    with suppress(WrongEnvironmentError):
        yield _api(producer.settings)
        yield check_tokens(producer, _workers_accounts(producer) if redis.ok else ())


def _redis(producer: Producer) -> CheckResult:
    try:
        producer.ping()
    except RedisUnavailable as error:
        problem = connection_problem(producer.settings.redis.address)
        remedy = f"REDIS_URL: the server {problem.message}" if problem else str(error)
        return CheckResult("redis", ok=False, found="no answer", remedy=remedy)
    return CheckResult("redis", ok=True, found="answers")


def _broker(settings: Settings) -> CheckResult:
    address = settings.redis.broker_address
    variable = "REDIS_URL" if settings.redis.broker_url is None else "BROKER_URL"
    problem = connection_problem(address)
    if problem is not None:
        remedy = f"{variable}: the server at {address.place} {problem.message}"
        return CheckResult("broker", ok=False, found="not usable", remedy=remedy)
    remedy = "Start the broker with `reelqueue valkey`, or set BROKER_URL."
    try:
        with connect_without_retries(address, BROKER_SECONDS) as broker:
            broker.ping()
    except (RedisError, ValueError) as error:
        return CheckResult("broker", ok=False, found=type(error).__name__, remedy=remedy)
    return CheckResult("broker", ok=True, found="answers")


def _store(producer: Producer, name: str, store: Store, *, has_redis: bool) -> CheckResult:
    """Check that a store can be written here, and that the live workers use the same one."""
    try:
        store.check()
        if has_redis:
            with producer.redis_errors():
                check_same_store(producer.ledger, name, store)
                if other := other_stores(producer.ledger, name, store):
                    raise other
    except StoreError as error:
        return CheckResult(f"{name} store", ok=False, found=error.message, remedy=error.remedy)
    return CheckResult(f"{name} store", ok=True, found=f"{store.address}: writable")


def _workers(producer: Producer) -> CheckResult:
    """Count the live workers, and report why some do not pay, as they have announced it."""
    alive, obstacles = live_workers(producer.ledger), payment_obstacles(producer.ledger)
    # Workers that have just started pay after a few seconds.
    is_starting = obstacles == [describe([NOT_COMPARED])]
    remedy = "Do what each reason says; payments then continue by themselves."
    return CheckResult(
        "workers",
        ok=alive.count > 0 and (is_starting or not obstacles),
        found=". ".join(
            [f"{alive.count} alive, {alive.slots} slots", *map(payments_stopped, obstacles)]
        ),
        remedy=remedy
        if obstacles
        else "If you have just started a worker, wait a few seconds and run `reelqueue doctor` "
        "again. Otherwise start one with `reelqueue worker`.",
    )


def _workers_accounts(producer: Producer) -> list[Account]:
    """Return the accounts of the live workers, whose tokens may not be set in this process."""
    with producer.redis_errors():
        return [*map(producer.ledger.account, sorted(announced_accounts(producer.ledger)))]


def _problems(producer: Producer) -> CheckResult:
    """Report the problems for which jobs wait in the workers. This process may not have them."""
    problems = current_problems(producer.ledger)
    found = (f"{each.message} Jobs have waited for {each.seconds:.0f} s." for each in problems)
    return CheckResult(
        "problems of workers",
        ok=not problems,
        found=" ".join(found) or "none",
        remedy=" ".join(dict.fromkeys(problem.remedy for problem in problems)),
    )


def _starts(producer: Producer) -> CheckResult:
    blockage = start_blockage(producer.ledger)
    return CheckResult(
        "starts",
        ok=blockage is None,
        found=str(blockage) if blockage else "jobs start, or none waits",
        remedy='See "Jobs stay queued" in docs/operations.md.',
    )


def _outbox(producer: Producer) -> CheckResult:
    ledger = producer.ledger
    oldest = ledger.redis.zrange(ledger.key("outbox"), 0, 0, withscores=True)
    late = max(0.0, (ledger.now_ms() - oldest[0][1]) / 1000) if oldest else 0.0
    waiting = int(ledger.redis.zcard(ledger.key("outbox")))
    return CheckResult(
        "outbox",
        ok=late < OUTBOX_LATE_SECONDS,
        found=f"{waiting} waiting, the oldest {late:.0f} s overdue" if waiting else "empty",
        remedy="Notifications are not sent. Check that a worker is running, and read its log.",
    )


def _manifests(producer: Producer) -> CheckResult:
    """Find submissions that stopped halfway: their jobs run, but their batches never end."""
    unsealed, now = producer.ledger.unsealed_batches(), producer.ledger.now_ms()
    names = ", ".join(list(unsealed)[:MAX_LISTED])
    return CheckResult(
        "manifests",
        ok=all(now - since < SUBMISSION_SECONDS * 1000 for since in unsealed.values()),
        found=f"{len(unsealed)} incomplete: {names}" if unsealed else "complete",
        remedy="Submit the same manifest again under the same name. Rows that were submitted "
        "before are not paid for again.",
    )


def _records(producer: Producer) -> CheckResult:
    found = producer.ledger.set_aside()
    listed = "; ".join(f"{name}: {why}" for name, why in islice(found.items(), MAX_LISTED))
    return CheckResult(
        "records",
        ok=not found,
        found=f"{len(found)} set aside ({listed})" if found else "none set aside",
        remedy="Upgrade reelqueue to the version that wrote them, or restore them. Then run "
        "`reelqueue release --set-aside`.",
    )


def _identity(producer: Producer) -> CheckResult:
    """Compare the records with the payment journal, as the workers do before they pay."""
    guard = IdentityGuard(producer.ledger, producer.journal, writer="", watch_seconds=WATCH_SECONDS)
    try:
        return identity_result(guard.compare().verdict)
    except JournalFailed as error:
        return CheckResult(IDENTITY, ok=False, found=str(error), remedy=error.remedy)


def _entries(producer: Producer) -> CheckResult:
    """Report the entries of the journal that steps and recoveries could not read."""
    unreadable = UnreadableEntries(producer.ledger)
    count = unreadable.count()
    listed = ", ".join(unreadable.some(MAX_LISTED)) if count else ""
    return CheckResult(
        "journal entries",
        ok=True,
        found=f"{count} jobs with one that cannot be read: {listed}" if count else "readable",
        suggestion="Their messages may have been charged. Restore the entries from a backup of the "
        "journal, or decide about each job with `reelqueue release`."
        if count
        else "",
    )


def _messages(producer: Producer, *, with_broker: bool) -> CheckResult:
    """Report messages without their text, which may hold prompts and signed addresses."""
    aside = SetAsideMessages(producer.ledger)
    messages = aside.some(MAX_LISTED)
    misplaced = misplaced_submissions(producer) if with_broker else 0
    found = [
        f"{message.length} bytes, SHA-256 {message.sha256[:12]}…: {message.reason}"
        for message in messages
    ]
    if misplaced:
        found.append(f"{misplaced} submissions in the queue {DEFAULT_QUEUE}, which no worker reads")
    return CheckResult(
        "messages",
        ok=not found,
        found=f"{aside.count()} set aside. {'; '.join(found)}" if found else "none set aside",
        remedy=f"Send submissions to the queue {producer.settings.redis.submit_queue}. "
        "`reelqueue release --set-aside` puts these messages into it.",
    )


def _environment(settings: Settings) -> CheckResult:
    """Check the environment variables that name proxies and certificates.

    Unknown variables with the prefix of a setting are named too: a misspelled one has no effect.
    """
    problems, unknown = list(environment_problems(settings.api.url)), list(unknown_variables())
    found = [problem.variable for problem in problems] or ["usable"]
    suggestion = " ".join(map(str, unknown))
    return CheckResult(
        "environment",
        ok=not problems,
        found="; ".join([*found, *(f"unknown: {variable.name}" for variable in unknown)]),
        remedy=" ".join(map(str, [*problems, *unknown])),
        suggestion=suggestion,
    )


def _api(settings: Settings) -> CheckResult:
    """Check that the API answers. Any HTTP status is an answer: the request has no token.

    Raises:
        WrongEnvironmentError: A variable cannot be used. The check of the environment reports it.
    """
    try:
        with open_http(settings.api.url) as http:
            status = http.get(settings.api.url, timeout=API_SECONDS).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return CheckResult(
            "video API",
            ok=False,
            found=f"{settings.api.url} does not answer ({type(error).__name__})",
            remedy="Check the network connection, or set NEMO_API_URL. `reelqueue sandbox` starts "
            "a local stand-in.",
        )
    return CheckResult("video API", ok=True, found=f"{settings.api.url} answers (HTTP {status})")
