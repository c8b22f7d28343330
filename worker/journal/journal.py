"""The payment journal of one namespace: attempts to pay, their marks, and the ends of jobs."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit
from uuid import uuid4

from worker.faultpoints import faultpoint
from worker.filesystems.bucket import SCHEMES
from worker.journal.entries import End, Entry, Mark, UnreadableEntryError, entry_name, split_name
from worker.journal.local_store import LocalJournalStore
from worker.journal.object_store import ObjectJournalStore
from worker.journal.other_store import OtherJournalStore
from worker.journal.stores import UNKNOWN_TIME, JournalStore, Listed

MOST_ATTEMPTS: Final = 1000


class Creation(StrEnum):
    """What became of the creation of an entry."""

    CREATED = "created"  # by this call, or by an earlier try of this process
    OTHERS = "others"  # somebody else's entry stands there


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt as the journal has it.

    Attributes:
        job_id: The job.
        number: The number of the attempt.
        entry: The entry, or None if it cannot be read.
        mark: Why it was certainly not charged, or None if it may have been.
        problem: Why the entry cannot be read, or "".
    """

    job_id: str
    number: int
    entry: Entry | None
    mark: Mark | None = None
    problem: str = ""

    @property
    def may_be_charged(self) -> bool:
        """Whether the message of this attempt was, or may have been, sent and charged."""
        return self.mark is None


@dataclass(frozen=True, slots=True)
class Page:
    """The jobs of a part of the journal, with the names of what it has of each.

    Attributes:
        place: The page's place in the journal's order.
        jobs: For each job the names of its objects, such as `1`, `1.mark` and `end`.
    """

    place: str
    jobs: Mapping[str, Sequence[str]]


class Journal:
    """The journal of one namespace. Each method raises `JournalFailed` when its store fails."""

    def __init__(self, store: JournalStore, namespace: str) -> None:
        self.store = store
        self._root = namespace
        self._id = ""

    @classmethod
    def open(cls, url: str, namespace: str) -> "Journal":
        """Open the journal at an address: a folder, an object store, or any fsspec URL.

        Raises:
            JournalFailed: The address is not understood.
        """
        return cls(open_store(url), namespace)

    def create(self, entry: Entry) -> Creation:
        """Create the entry of an attempt, if nobody has.

        A create whose reply was lost raises `JournalFailed`. The caller repeats it with the same
        entry: the random value in it tells its own entry from another's.
        """
        key = self._attempt_key(entry.job_id, entry.attempt)
        if self.store.create(key, entry.to_json(), point="journal.create"):
            return Creation.CREATED
        found = self.attempt(entry.job_id, entry.attempt)
        own = found is not None and found.entry is not None and found.entry.nonce == entry.nonce
        return Creation.CREATED if own else Creation.OTHERS

    def attempt(self, job_id: str, number: int) -> Attempt | None:
        """Read one attempt. None if nobody has created it."""
        key = self._attempt_key(job_id, number)
        stored = self.store.read(key)
        if stored is None:
            return None
        try:
            entry = Entry.from_json(stored.data)
        except UnreadableEntryError as error:
            return Attempt(job_id, number, None, problem=str(error))
        if entry.mark is not None:
            return Attempt(job_id, number, entry, entry.mark)
        return Attempt(job_id, number, entry, self._mark_of(key))

    def attempts(self, job_id: str) -> list[Attempt]:
        """Read all attempts of a job, the last one at the end."""
        found: list[Attempt] = []
        while len(found) < MOST_ATTEMPTS:
            attempt = self.attempt(job_id, len(found) + 1)
            if attempt is None:
                break
            found.append(attempt)
        return found

    def mark(self, job_id: str, number: int, mark: Mark, why: str) -> None:
        """Note that an attempt was certainly not charged. Only its creator may say so."""
        value = json.dumps({"mark": mark.value, "why": why}).encode()
        key = f"{self._attempt_key(job_id, number)}.mark"
        self.store.create(key, value, point="journal.mark")

    def end(self, end: End) -> None:
        """Note the end of a job that has paid. A later end replaces it."""
        with faultpoint("journal.end"):
            self.store.put(f"{self._job_key(end.job_id)}/end", end.to_json())

    def ended(self, job_id: str) -> End | None:
        """Read the end of a job. None if the journal has none that can be read."""
        stored = self.store.read(f"{self._job_key(job_id)}/end")
        if stored is None:
            return None
        try:
            return End.from_json(stored.data)
        except UnreadableEntryError:
            return None

    def name_next(self, previous: str, entry: Entry) -> bool:
        """Name the entry of the next message in a session, beside the entry before it.

        Returns:
            False if another entry is named there already.
        """
        key = f"{self._attempt_key(*split_name(previous))}.next"
        created = self.store.create(key, entry.name.encode(), point="journal.next")
        return created or self.next(previous) == entry.name

    def next(self, name: str) -> str | None:
        """The name of the entry of the next message in the session. None if there is none."""
        stored = self.store.read(f"{self._attempt_key(*split_name(name))}.next")
        return stored.data.decode() if stored else None

    def pages(self, after: str = "", since: float = 0.0) -> Iterator[Page]:
        """All jobs that have an attempt, a page at a time, in the journal's order.

        Args:
            after: The place of the last page that is not wanted any more, or "" for all.
            since: Leave out jobs of which nothing was written after this time, in seconds by the
                store's clock.
        """
        for shard in self.store.folders(f"{self._root}/jobs"):
            if shard > after:
                listed = self.store.listing(f"{self._root}/jobs/{shard}")
                yield Page(shard, _group(listed, since))

    def place_of(self, job_id: str) -> str:
        """The place of a job in the journal: its page, and its folder there."""
        return f"{_shard(job_id)}/{quote(job_id, safe='')}"

    def forget(self, job_id: str) -> None:
        """Delete what the journal has of a job. Its key must not be able to pay any more."""
        folder = self._job_key(job_id)
        # The first attempt goes last: while it is there, the job still counts as paid.
        for name in sorted(self.store.names(folder), reverse=True):
            self.store.delete(f"{folder}/{name}")

    def check(self) -> float:
        """Create, read, list and delete a small object.

        Returns:
            When it was written, by the store's clock: see `Stored.modified`.

        Raises:
            JournalFailed: One of these does not work.
        """
        key = f"{self._root}/checks/{uuid4().hex}"
        self.store.create(key, b"check", point="journal.check")
        stored = self.store.read(key)
        self.store.folders(f"{self._root}/jobs")
        self.store.delete(key)
        return stored.modified if stored else UNKNOWN_TIME

    def id(self) -> str:
        """The random id of this journal, which is made at its first use."""
        if not self._id:
            key = self.key("id")
            self.store.create(key, uuid4().hex.encode(), point="journal.identity")
            stored = self.store.read(key)
            self._id = stored.data.decode() if stored else ""
        return self._id

    def read_id(self) -> str:
        """The id of this journal, or "" if nobody has used it yet."""
        stored = self.store.read(self.key("id"))
        return stored.data.decode() if stored else ""

    def key(self, name: str) -> str:
        """The key of an object of the namespace beside the entries."""
        return f"{self._root}/{name}"

    def _mark_of(self, key: str) -> Mark | None:
        stored = self.store.read(f"{key}.mark")
        if stored is None:
            return None
        try:
            return Mark(json.loads(stored.data)["mark"])
        except (ValueError, KeyError, TypeError):
            # What cannot be read proves nothing: the attempt counts as charged.
            return None

    def _job_key(self, job_id: str) -> str:
        return f"{self._root}/jobs/{self.place_of(job_id)}"

    def _attempt_key(self, job_id: str, number: int) -> str:
        shard = _shard(job_id)
        return f"{self._root}/jobs/{shard}/{entry_name(job_id, number)}"


def open_store(url: str) -> JournalStore:
    """Open the store at an address.

    Raises:
        JournalFailed: The address is not understood.
    """
    parts = urlsplit(url)
    if parts.scheme in ("file", "local"):
        return LocalJournalStore(Path(unquote(parts.path)).absolute())
    if not parts.scheme:
        return LocalJournalStore(Path(url).absolute())
    if parts.scheme in SCHEMES:
        return ObjectJournalStore(url)
    return OtherJournalStore(url)


def _group(listed: Iterable[Listed], since: float) -> dict[str, list[str]]:
    """Group the objects of a page by their jobs, without jobs that are older than a time."""
    names: dict[str, list[str]] = {}
    newest: dict[str, float] = {}
    for each in listed:
        folder, _, name = each.name.partition("/")
        job_id = unquote(folder)
        names.setdefault(job_id, []).append(name)
        newest[job_id] = max(newest.get(job_id, 0.0), each.modified)
    return {job_id: found for job_id, found in names.items() if newest[job_id] >= since}


def _shard(job_id: str) -> str:
    return hashlib.sha256(job_id.encode()).hexdigest()[:2]
