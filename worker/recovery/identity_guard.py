"""Compare the ledger with the journal's mirror, and act on the differences.

The mirror is read first and the ledger second, so that a healthy ledger never seems to be behind.
Each replacement names the version of the mirror that it replaces, so that of two processes that
replace the same version one is refused.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isinf
from typing import Final
from uuid import uuid4

from worker.journal.identity import (
    FIRST_EPOCH,
    IdentityVerdict,
    LedgerIdentity,
    RenewalWatch,
    judge,
)
from worker.journal.journal import Journal
from worker.journal.mirror import Mirror, MirrorObject, ReadMirror
from worker.ledger.ledger import Ledger
from worker.recovery.ledger_ids import LedgerIds

NEWER_MARGIN_SECONDS: Final = 60.0
"""After a restart of Redis, journal entries are read from this long before the last renewal of the
mirror. The mirror is written some time after its counter was read, so the ledger may also have lost
payments that are a little older than the mirror."""
START_TRIES: Final = 3
"""How often a check tries to create the first mirror, while other workers try the same."""
PLACES_PER_LEASE: Final = 12
"""How often in a lease a recovery writes its place into the mirror, at most: four times in each
heartbeat. Workers on another Redis take over a journal whose mirror nobody renews for three
heartbeats."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison of the ledger with the mirror."""

    verdict: IdentityVerdict
    ledger: LedgerIdentity
    mirror: ReadMirror | None


class ReplacedByOtherError(Exception):
    """Another process has changed the mirror, or the ledger was lost or restarted meanwhile.

    The next check finds out which.
    """


class IdentityGuard:
    """Checks the identity of one ledger, for one process.

    Each method raises `RedisError` or `JournalFailed` when a server does not answer.

    Args:
        ledger: The ledger.
        journal: This process's journal.
        writer: The name of this process in the mirror.
        watch_seconds: How long the mirror must stay unchanged before this ledger takes it over.
        clock: A monotonic clock, in seconds.
    """

    def __init__(
        self,
        ledger: Ledger,
        journal: Journal,
        *,
        writer: str,
        watch_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ids = LedgerIds(ledger)
        self._journal = journal
        self._mirror = MirrorObject(journal)
        self._writer = writer
        self._watch_seconds = watch_seconds
        self._watch = RenewalWatch(watch_seconds)
        self._clock = clock
        self._place_seconds = ledger.lease_ms / 1000 / PLACES_PER_LEASE
        self._place_written_at = 0.0
        self._last_version = ""
        self._lock = threading.Lock()

    def compare(self) -> Comparison:
        """Compare the ledger with the mirror, and change nothing."""
        own = self._journal.id()
        with self._lock:
            found, ledger = self._mirror.read(), self.ids.read()
            if found is None and not ledger.is_new:
                # Another worker may have created the first mirror after it was read here.
                found, ledger = self._mirror.read(), self.ids.read()
            others: bool | None = False
            if found is not None:
                others = self._watch.observe(found, ledger.run_id, self._clock())
        if found is not None and others is None and self._is_stale(found):
            others = False
        mirror = found.mirror if found else None
        verdict = judge(ledger, mirror, own_journal=own, renewed_by_others=others)
        return Comparison(verdict, ledger, found)

    def check(self) -> IdentityVerdict:
        """Compare both; then create the first mirror, renew it, or record that this is a clone."""
        for _ in range(START_TRIES):
            found = self.compare()
            if found.verdict is not IdentityVerdict.FIRST_START:
                break
            self._start(found)
        if found.verdict is IdentityVerdict.PAY and found.mirror is not None:
            self._renew(found.ledger, found.mirror)
        if found.verdict is IdentityVerdict.CLONE and not found.ledger.stopped:
            self.ids.stop_paying()
        return found.verdict

    def begin(self, found: Comparison) -> ReadMirror:
        """Begin a recovery, or continue one that was interrupted.

        A clone, and a ledger that the journal does not belong to, take the journal over, and the
        other ledger then stops paying. Only a person's recovery does that.

        Args:
            found: The last comparison.

        Raises:
            ReplacedByOtherError: Another process has changed the mirror since.
        """
        ledger, read = found.ledger, found.mirror
        if read is None:
            raise ReplacedByOtherError
        mirror, is_newer = read.mirror, found.verdict is IdentityVerdict.RECOVER_NEWER
        is_own = mirror.run_id == ledger.run_id and ledger.recovering == mirror.epoch
        takes_over = found.verdict in (IdentityVerdict.CLONE, IdentityVerdict.OTHER_LEDGER)
        # A process that continues a recovery writes no place at first. If the former process still
        # runs, the next write of that one stops this one. Otherwise both would stop each other in
        # turn.
        self._place_written_at = self._clock()
        if mirror.recovering and is_own and not takes_over:
            return read
        since = mirror.since if mirror.recovering else _since(read)
        begun = replace(
            mirror,
            ledger_id=uuid4().hex if takes_over else mirror.ledger_id,
            epoch=max(mirror.epoch, ledger.epoch) + 1,
            run_id=ledger.run_id,
            recovering=True,
            place="",
            since=since if is_newer else 0.0,
        )
        self._replace(begun, read.version)
        self.ids.begin_recovery(begun)
        return self._read_own(begun.epoch)

    def advance(self, read: ReadMirror, place: str) -> ReadMirror:
        """Check that a recovery may continue after a page, and write its place from time to time.

        The write also shows workers on another Redis that this ledger is in use. If a recovery
        dies, the next one restores the pages since the last write again, which changes nothing.

        Raises:
            ReplacedByOtherError: Another process has continued it, or begun another one; or the
                ledger was lost again or restarted since it began.
        """
        self._check_begun(read.mirror)
        if self._clock() - self._place_written_at < self._place_seconds:
            return read
        return self._write_place(read, place)

    def interrupt(self, read: ReadMirror, place: str) -> None:
        """Write the place of a recovery that stops here, from which the next one continues.

        Raises:
            ReplacedByOtherError: As for `advance`.
        """
        self._check_begun(read.mirror)
        if place != read.mirror.place:
            self._write_place(read, place)

    def finish(self, read: ReadMirror) -> None:
        """End a recovery: write the epoch into the ledger, so that workers pay again.

        Raises:
            ReplacedByOtherError: Another process has ended it, or begun another one; or the ledger
                was lost again or restarted since it began.
        """
        self._check_begun(read.mirror)
        ended = replace(read.mirror, recovering=False, place="", since=0.0)
        self._replace(ended, read.version)
        if not self.ids.end_recovery(ended):
            raise ReplacedByOtherError

    def _write_place(self, read: ReadMirror, place: str) -> ReadMirror:
        self._replace(replace(read.mirror, place=place), read.version)
        self._place_written_at = self._clock()
        return self._read_own(read.mirror.epoch)

    def _check_begun(self, mirror: Mirror) -> None:
        """Check that the ledger is the one in which a recovery has begun.

        If Redis was restarted since, a renewal would name the run before the restart, which others
        take for the run of another Redis. If records were lost again, those of the pages that were
        restored before the loss would be missing at the end.
        """
        ledger = self.ids.read()
        if (ledger.run_id, ledger.recovering) != (mirror.run_id, mirror.epoch):
            raise ReplacedByOtherError

    def _is_stale(self, found: ReadMirror) -> bool:
        """Whether the mirror is older than the time to watch, by the clock of its store."""
        now = self._journal.check()
        return not isinf(now) and now - found.modified >= self._watch_seconds

    def _start(self, found: Comparison) -> None:
        """Create the first mirror and copy its ids, or end such a start of another process.

        The start is noted in the ledger first, so that a mirror whose ids are not copied yet does
        not mean that the ledger has lost them.
        """
        mirror = found.mirror.mirror if found.mirror else self._create_mirror(found.ledger)
        if mirror is not None:
            self.ids.end_start(mirror)

    def _create_mirror(self, ledger: LedgerIdentity) -> Mirror | None:
        """Create the first mirror. None if another process was faster."""
        mirror = self._signed(
            Mirror(
                journal_id=self._journal.id(),
                ledger_id=self.ids.begin_start(uuid4().hex),
                epoch=FIRST_EPOCH,
                counter=ledger.counter,
                run_id=ledger.run_id,
                writer="",
                renewed_at=0,
            )
        )
        return mirror if self._mirror.create(mirror) else None

    def _renew(self, ledger: LedgerIdentity, read: ReadMirror) -> None:
        """Renew the mirror, unless another worker has done so since the last check."""
        if read.mirror.writer != self._writer and read.version != self._last_version:
            self._last_version = read.version
            return
        renewed = self._signed(replace(read.mirror, counter=ledger.counter))
        self._mirror.replace(renewed, read.version)

    def _replace(self, mirror: Mirror, version: str) -> None:
        if not self._mirror.replace(self._signed(mirror), version):
            raise ReplacedByOtherError

    def _read_own(self, epoch: int) -> ReadMirror:
        found = self._mirror.read()
        if found is None or found.mirror.epoch != epoch or not found.mirror.recovering:
            raise ReplacedByOtherError
        return found

    def _signed(self, mirror: Mirror) -> Mirror:
        return replace(mirror, writer=self._writer, renewed_at=int(time.time() * 1000))


def _since(read: ReadMirror) -> float:
    """Return the time of the oldest entry that a restart may have lost; 0 if it is not known."""
    return 0.0 if isinf(read.modified) else max(0.0, read.modified - NEWER_MARGIN_SECONDS)
