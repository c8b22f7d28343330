"""The comparison of ledger and journal in one process, and the recoveries that follow from it."""

import itertools
import os
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.valkey import Valkey
from tests.unit.worker.recovery.conftest import Scene
from worker.journal.identity import IdentityVerdict
from worker.journal.journal import Journal
from worker.journal.mirror import Mirror, MirrorObject, ReadMirror
from worker.recovery.by_person import OVERRULED
from worker.recovery.identity_guard import IdentityGuard, ReplacedByOtherError
from worker.recovery.job_restorer import Counts
from worker.recovery.ledger_recovery import recover_ledger


def mirror_of(scene: Scene) -> Mirror:
    found = MirrorObject(scene.journal).read()
    assert found is not None
    return found.mirror


def mirror_version(scene: Scene) -> str:
    found = MirrorObject(scene.journal).read()
    assert found is not None
    return found.version


def change_mirror(scene: Scene, **fields: object) -> None:
    """Renew the mirror as workers on another server do."""
    changed = replace(mirror_of(scene), **fields)  # type: ignore[arg-type]
    MirrorObject(scene.journal).overwrite(changed)


def run(
    scene: Scene,
    guard: IdentityGuard,
    *,
    pages: int = 1000,
    overruled: Collection[IdentityVerdict] = (),
) -> Counts | None:
    """Recover, for so many pages at most."""
    left = iter(range(pages))
    return recover_ledger(
        guard,
        scene.journal,
        scene.restorer(),
        may_continue=lambda: next(left, None) is not None,
        overruled=overruled,
    )


def pay_many(scene: Scene, count: int = 12) -> list[str]:
    jobs = [f"job-{number}" for number in range(count)]
    for job_id in jobs:
        scene.pay(job_id)
    return jobs


def test_the_first_worker_makes_the_mirror_and_the_others_find_it(scene: Scene) -> None:
    assert scene.guard("w1").check() is IdentityVerdict.PAY
    assert scene.guard("w2").check() is IdentityVerdict.PAY
    mirror = mirror_of(scene)
    stored = scene.redis.hmget("meta:{rq}", "journal_id", "ledger_id", "epoch")
    assert stored == [mirror.journal_id, mirror.ledger_id, "1"]
    assert mirror.writer == "w1"


class MirrorReadBefore(MirrorObject):
    """The mirror, as read directly before another worker does something."""

    def __init__(self, journal: Journal, then: Callable[[], object]) -> None:
        super().__init__(journal)
        self._then: Callable[[], object] | None = then

    def read(self) -> ReadMirror | None:
        found, then, self._then = super().read(), self._then, None
        if then is not None:
            then()
        return found


def begin_start(scene: Scene) -> tuple[IdentityGuard, Mirror]:
    """A worker that has created the first mirror, and not yet copied its ids into the ledger."""
    guard = scene.guard("w1")
    mirror = guard._create_mirror(guard.compare().ledger)
    assert mirror is not None
    return guard, mirror


def test_nothing_counts_as_lost_while_the_first_worker_starts(scene: Scene) -> None:
    first, mirror = begin_start(scene)
    assert scene.guard().compare().verdict is IdentityVerdict.FIRST_START
    first.ids.end_start(mirror)
    assert scene.guard().compare().verdict is IdentityVerdict.PAY


def test_a_second_worker_ends_the_start_of_the_first_one(scene: Scene) -> None:
    first, mirror = begin_start(scene)
    assert scene.guard("w2").check() is IdentityVerdict.PAY
    first.ids.end_start(mirror)
    assert first.check() is IdentityVerdict.PAY
    stored = scene.redis.hmget("meta:{rq}", "journal_id", "ledger_id", "epoch", "starting")
    assert stored == [mirror.journal_id, mirror.ledger_id, "1", None]


def test_workers_that_begin_the_start_at_the_same_time_give_the_ledger_one_id(
    scene: Scene,
) -> None:
    first, second = scene.guard("w1"), scene.guard("w2")
    found = [guard.compare() for guard in (first, second)]
    assert first.ids.begin_start("one") == second.ids.begin_start("other") == "one"
    for guard, comparison in zip((second, first), found, strict=True):
        guard._start(comparison)
        assert scene.guard().compare().verdict is IdentityVerdict.PAY
    assert mirror_of(scene).ledger_id == "one"


def test_a_loss_during_the_first_start_is_a_loss(scene: Scene) -> None:
    first, mirror = begin_start(scene)
    scene.redis.flushdb()
    assert scene.guard().compare().verdict is IdentityVerdict.RECOVER
    first.ids.end_start(mirror)
    assert first.check() is IdentityVerdict.RECOVER
    assert first.ids.begin_start("late") == "late"
    assert first.check() is IdentityVerdict.RECOVER


def test_a_start_that_ends_between_the_readings_of_mirror_and_ledger_is_no_other_journal(
    scene: Scene,
) -> None:
    guard = scene.guard("w2")
    guard._mirror = MirrorReadBefore(scene.journal, scene.guard("w1").check)
    assert guard.compare().verdict is IdentityVerdict.PAY


def test_a_used_ledger_without_ids_is_taken_over(scene: Scene) -> None:
    scene.redis.hset("meta:{rq}", mapping={"journal_id": scene.journal.id(), "intents": 7})
    assert scene.guard().check() is IdentityVerdict.PAY
    assert mirror_of(scene).counter == 7


def test_one_worker_renews_the_mirror_and_another_one_does_when_it_has_stopped(
    scene: Scene,
) -> None:
    first, second = scene.guard("w1"), scene.guard("w2")
    writers = []
    for guards in ([first, second],) * 3 + ([second],) * 2:
        scene.redis.hincrby("meta:{rq}", "intents", 1)
        for guard in guards:
            assert guard.check() is IdentityVerdict.PAY
        writers.append((mirror_of(scene).writer, mirror_of(scene).counter))
    assert writers == [("w1", 1), ("w1", 2), ("w1", 3), ("w2", 4), ("w2", 5)]


def test_after_a_flush_the_ledger_is_recovered_and_its_counter_does_not_fall(
    scene: Scene,
) -> None:
    guard = scene.guard()
    scene.redis.hset("meta:{rq}", "intents", 9)
    guard.check()
    guard.check()
    jobs = pay_many(scene)
    scene.redis.flushdb()
    assert guard.check() is IdentityVerdict.RECOVER
    counts = run(scene, guard)
    assert counts is not None
    assert counts.resumed == len(jobs)
    assert guard.check() is IdentityVerdict.PAY
    assert scene.redis.hmget("meta:{rq}", "intents", "epoch") == ["9", "2"]
    assert run(scene, guard) is None


def test_an_interrupted_recovery_goes_on_and_one_after_another_loss_begins_again(
    scene: Scene,
) -> None:
    guard = scene.guard()
    guard.check()
    jobs = pay_many(scene)
    scene.redis.flushdb()
    assert run(scene, guard, pages=3) is None
    place = mirror_of(scene).place
    assert place
    assert scene.guard("w2").check() is IdentityVerdict.RECOVER
    found = len(list(scene.redis.scan_iter("job:*")))
    assert 0 < found < len(jobs)
    rest = run(scene, scene.guard("w2"))
    assert rest is not None
    assert rest.resumed == len(jobs) - found
    assert guard.check() is IdentityVerdict.PAY

    scene.redis.flushdb()
    assert run(scene, guard, pages=3) is None
    scene.redis.flushdb()
    counts = run(scene, guard)
    assert counts is not None
    assert counts.resumed == len(jobs)


def run_through(scene: Scene, lose: Callable[[], object], *, page: int) -> Counts | None:
    """Recover, while Redis loses something before this page."""
    pages = itertools.count()

    def may_continue() -> bool:
        if next(pages) == page:
            lose()
        return True

    return recover_ledger(
        scene.guard(),
        scene.journal,
        scene.restorer(),
        may_continue=may_continue,
    )


@pytest.mark.parametrize("page", [1, 3, 11])
def test_a_recovery_does_not_go_on_after_another_loss(scene: Scene, page: int) -> None:
    """What it had restored before the loss would be missing when it ends."""
    guard = scene.guard()
    guard.check()
    jobs = pay_many(scene)
    scene.redis.flushdb()
    assert run_through(scene, scene.redis.flushdb, page=page) is None
    assert guard.check() is IdentityVerdict.RECOVER
    assert run(scene, guard) is not None
    assert guard.check() is IdentityVerdict.PAY
    assert scene.redis.zcard("jobs:{rq}") == len(jobs)


def test_a_recovery_renews_the_mirror_in_each_heartbeat_and_reads_the_server_once_a_page(
    scene: Scene,
) -> None:
    """Workers on another Redis take a journal over that nobody renews for three heartbeats."""
    page_seconds, heartbeat = 1.0, scene.ledger.lease_ms / 1000 / 3
    now, renewals, versions = 0.0, [0.0], [""]
    scene.guard().check()
    pay_many(scene, 30)
    scene.redis.flushdb()
    guard = scene.guard(clock=lambda: now)

    def may_continue() -> bool:
        nonlocal now
        if mirror_version(scene) != versions[-1]:
            versions.append(mirror_version(scene))
            renewals.append(now)
        now += page_seconds
        return True

    scene.redis.config_resetstat()
    counts = recover_ledger(guard, scene.journal, scene.restorer(), may_continue=may_continue)
    readings = scene.redis.info("commandstats")["cmdstat_info"]["calls"]
    assert counts is not None
    pages = len(list(scene.journal.pages()))
    assert readings <= pages + 2, "one for each page, one to begin and one to end"
    waits = [later - earlier for earlier, later in itertools.pairwise(renewals[1:])]
    assert len(waits) > 2
    assert all(heartbeat / 4 <= wait < heartbeat / 4 + page_seconds for wait in waits)


def test_a_recovery_that_dies_goes_on_from_the_last_place_that_it_wrote(scene: Scene) -> None:
    scene.guard().check()
    jobs = pay_many(scene)
    scene.redis.flushdb()
    pages, now = itertools.count(), 0.0

    def die() -> bool:
        nonlocal now
        if (page := next(pages)) == 5:
            raise SystemExit
        now = 1000.0 if page == 1 else now
        return True

    guard = scene.guard(clock=lambda: now)
    with pytest.raises(SystemExit):
        recover_ledger(guard, scene.journal, scene.restorer(), may_continue=die)
    restored = int(scene.redis.zcard("jobs:{rq}"))
    places = [page.place for page in scene.journal.pages()]
    assert mirror_of(scene).place == places[1], "the clock stood still after it"
    again = sum(len(page.jobs) for page in itertools.islice(scene.journal.pages(), 2, 5))
    rest = run(scene, scene.guard("w2"))
    assert rest is not None
    assert (rest.known, rest.resumed) == (again, len(jobs) - restored)
    assert scene.guard().check() is IdentityVerdict.PAY


def test_a_process_that_joins_a_recovery_does_not_interrupt_it(scene: Scene) -> None:
    """Each would lose what it has restored since its last write when the other one writes."""
    scene.guard().check()
    jobs = pay_many(scene)
    scene.redis.flushdb()
    now, pages = 0.0, itertools.count()
    first = scene.guard("w1", clock=lambda: now)
    second = scene.guard("w2", clock=lambda: now)
    joined: list[ReadMirror] = []

    def may_continue() -> bool:
        nonlocal now
        now += 2.0
        if next(pages) == 3:
            joined.append(second.begin(second.compare()))
            assert second.advance(joined[0], "ff") is joined[0]
        return True

    counts = recover_ledger(first, scene.journal, scene.restorer(), may_continue=may_continue)
    assert counts is not None
    assert counts.resumed == len(jobs)
    assert first.check() is IdentityVerdict.PAY
    with pytest.raises(ReplacedByOtherError):
        second.advance(joined[0], "ff")


def test_a_loss_before_the_last_write_of_a_recovery_begins_another_one(scene: Scene) -> None:
    guard = scene.guard()
    guard.check()
    pay_many(scene)
    scene.redis.flushdb()
    begun = guard.begin(guard.compare())
    mirror = replace(begun.mirror, recovering=False)
    assert guard.ids.end_recovery(mirror)
    assert guard.ids.end_recovery(mirror), "its reply may be lost"
    scene.redis.flushdb()
    assert not guard.ids.end_recovery(mirror)
    assert guard.check() is IdentityVerdict.RECOVER


def test_a_recovery_does_not_go_on_after_a_restart_of_redis(tmp_path: Path) -> None:
    """The others would take its renewals of the mirror for those of workers on another Redis."""
    valkey = Valkey(tmp_path / "valkey").start()
    try:
        with valkey.client() as redis:
            scene = Scene(redis, tmp_path)
            scene.guard().check()
            jobs = pay_many(scene)
            redis.flushdb()
            versions: list[str] = []

            def restart() -> None:
                valkey.stop()
                valkey.start()
                versions.append(mirror_version(scene))

            assert run_through(scene, restart, page=2) is None
            assert mirror_version(scene) == versions[0], "it renews the mirror no more"
            guard = scene.guard()
            assert guard.check() is IdentityVerdict.RECOVER
            assert run(scene, guard) is not None
            assert guard.check() is IdentityVerdict.PAY
            assert redis.zcard("jobs:{rq}") == len(jobs)
    finally:
        valkey.stop()


def test_after_a_restart_of_redis_only_what_is_newer_than_the_mirror_is_read(
    scene: Scene,
) -> None:
    guard = scene.guard()
    guard.check()
    change_mirror(scene, run_id="run before")
    scene.pay("job-1")
    assert guard.check() is IdentityVerdict.RECOVER_NEWER
    counts = run(scene, guard, pages=0)
    assert counts is None
    begun = mirror_of(scene)
    assert begun.recovering
    assert begun.since > 0
    counts = run(scene, guard)
    assert counts is not None
    assert counts.resumed == 1
    assert guard.check() is IdentityVerdict.PAY


def test_a_mirror_that_nobody_has_renewed_for_long_needs_no_watch(scene: Scene) -> None:
    """As at the start after an outage."""
    scene.guard().check()
    change_mirror(scene, run_id="run before")
    assert scene.guard(watch_seconds=60).check() is IdentityVerdict.WAIT
    (path,) = scene.folder.glob("journal/rq/mirror")
    written = path.stat().st_mtime
    os.utime(path, (written - 61, written - 61))
    assert scene.guard(watch_seconds=60).check() is IdentityVerdict.RECOVER_NEWER


def test_a_clone_stops_paying_until_a_person_recovers_and_then_the_other_stops(
    scene: Scene,
) -> None:
    guard = scene.guard(watch_seconds=1000)
    guard.check()
    seen = []
    for at in range(4):
        change_mirror(scene, run_id="of the other", renewed_at=at)
        seen.append(guard.check())
    assert seen == [
        IdentityVerdict.WAIT,
        IdentityVerdict.WAIT,
        IdentityVerdict.CLONE,
        IdentityVerdict.CLONE,
    ]
    # Also for a process that has just started, and whatever the other does.
    assert scene.guard().check() is IdentityVerdict.CLONE
    assert run(scene, guard) is None
    other = mirror_of(scene).ledger_id
    assert run(scene, guard, overruled=OVERRULED) is not None
    assert guard.check() is IdentityVerdict.PAY
    assert mirror_of(scene).ledger_id != other
    scene.redis.hset("meta:{rq}", "ledger_id", other)
    assert guard.check() is IdentityVerdict.OTHER_LEDGER
    assert run(scene, guard) is None


def test_a_takeover_that_was_interrupted_goes_on_by_itself(scene: Scene) -> None:
    guard = scene.guard()
    guard.check()
    pay_many(scene)
    scene.redis.hset("meta:{rq}", "ledger_id", "another")
    assert guard.check() is IdentityVerdict.OTHER_LEDGER
    assert run(scene, guard, pages=2, overruled=OVERRULED) is None
    assert guard.check() is IdentityVerdict.RECOVER
    assert run(scene, guard) is not None
    assert guard.check() is IdentityVerdict.PAY


def test_of_two_processes_that_begin_a_recovery_one_is_refused_and_both_end_it(
    scene: Scene,
) -> None:
    first, second = scene.guard("w1"), scene.guard("w2")
    first.check()
    pay_many(scene)
    scene.redis.flushdb()
    found = second.compare()
    assert run(scene, first, pages=2) is None
    with pytest.raises(ReplacedByOtherError):
        second.begin(found)
    assert run(scene, second) is not None
    assert first.check() is IdentityVerdict.PAY


def test_another_journal_than_the_ledgers_is_no_place_to_pay_from(scene: Scene) -> None:
    scene.guard().check()
    scene.redis.hset("meta:{rq}", "journal_id", "another")
    guard = scene.guard()
    assert guard.check() is IdentityVerdict.OTHER_JOURNAL
    assert run(scene, guard, overruled=OVERRULED) is None
