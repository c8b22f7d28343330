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
from worker.journal.entries import End, Entry, Mark, UnreadableEntryError, split_name
from worker.journal.local_store import LocalJournalStore
from worker.journal.object_store import ObjectJournalStore
from worker.journal.other_store import OtherJournalStore
from worker.journal.stores import UNKNOWN_TIME, JournalStore, Listed, Stored

MAX_ATTEMPTS: Final = 1000
"""Attempts of a job that are read."""


class Creation(StrEnum):
    """The result of creating an entry."""

    CREATED = "created"  # by this call, or by an earlier try of this process
    OTHERS = "others"  # not created: another process has created one


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt, as read from the journal.

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
    """A part of the journal: some jobs, with the names of their objects.

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
        parts = urlsplit(url)
        store: JournalStore
        if parts.scheme in ("file", "local"):
            store = LocalJournalStore(Path(unquote(parts.path)).absolute())
        elif not parts.scheme:
            store = LocalJournalStore(Path(url).absolute())
        elif parts.scheme in SCHEMES:
            store = ObjectJournalStore(url)
        else:
            store = OtherJournalStore(url)
        return cls(store, namespace)

    def create(self, entry: Entry) -> Creation:
        """Create the entry of an attempt, unless it exists.

        If the store's reply is lost, this raises `JournalFailed`. The caller repeats the call with
        the same entry, whose nonce distinguishes it from the entry of another process.
        """
        key = self._attempt_key(entry.job_id, entry.attempt)
        if self.store.create(key, entry.to_json(), point="journal.create"):
            return Creation.CREATED
        found = self.attempt(entry.job_id, entry.attempt)
        own = found is not None and found.entry is not None and found.entry.nonce == entry.nonce
        return Creation.CREATED if own else Creation.OTHERS

    def attempt(self, job_id: str, number: int) -> Attempt | None:
        """Read one attempt. None if it has no entry."""
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
        while len(found) < MAX_ATTEMPTS:
            attempt = self.attempt(job_id, len(found) + 1)
            if attempt is None:
                break
            found.append(attempt)
        return found

    def mark(self, job_id: str, number: int, mark: Mark, why: str) -> None:
        """Record that an attempt was certainly not charged. Only its creator may call this."""
        value = json.dumps({"mark": mark.value, "why": why}).encode()
        key = f"{self._attempt_key(job_id, number)}.mark"
        self.store.create(key, value, point="journal.mark")

    def end(self, end: End) -> None:
        """Record the end of a job that has paid, in place of an earlier end.

        A worker that was frozen may record a failure after another one has recorded a success of
        the same payment, which stays.
        """
        key, data = f"{self._job_key(end.job_id)}/end", end.to_json()
        with faultpoint("journal.end"):
            while not self.store.create(key, data, point="journal.put"):
                stored = self.store.read(key)
                if stored is None:
                    continue
                if _outlasts(stored, end):
                    return
                if self.store.replace(key, data, stored.version, point="journal.put"):
                    return

    def ended(self, job_id: str, attempt: int) -> End | None:
        """Read the end of a job that has paid this attempt.

        Returns:
            None if the journal has no end that can be read, or only one from before the attempt.
        """
        stored = self.store.read(f"{self._job_key(job_id)}/end")
        if stored is None:
            return None
        try:
            end = End.from_json(stored.data)
        except UnreadableEntryError:
            return None
        return None if end.is_before(attempt) else end

    def name_next(self, previous: str, entry: Entry) -> bool:
        """Record the name of the next message's entry in a session beside the previous entry.

        Returns:
            False if the name of another entry is recorded there.
        """
        key = f"{self._attempt_key(*split_name(previous))}.next"
        created = self.store.create(key, entry.name.encode(), point="journal.next")
        return created or self.next(previous) == entry.name

    def next(self, name: str) -> str | None:
        """Return the name of the entry of the next message in the session, or None."""
        stored = self.store.read(f"{self._attempt_key(*split_name(name))}.next")
        return stored.data.decode() if stored else None

    def pages(self, after: str = "", since: float = 0.0) -> Iterator[Page]:
        """Yield all jobs that have an attempt, a page at a time, in the journal's order.

        Args:
            after: The place of the page after which to begin, or "" for all pages.
            since: Leave out jobs of which nothing was written after this time, in seconds by the
                store's clock.
        """
        for shard in self.store.folders(f"{self._root}/jobs"):
            if shard > after:
                listed = self.store.listing(f"{self._root}/jobs/{shard}")
                yield Page(shard, _group(listed, since))

    def place_of(self, job_id: str) -> str:
        """Return the place of a job in the journal: its page, and its folder there."""
        shard = hashlib.sha256(job_id.encode()).hexdigest()[:2]
        return f"{shard}/{quote(job_id, safe='')}"

    def forget(self, job_id: str) -> None:
        """Delete all objects of a job. After that, its key can pay again."""
        folder = self._job_key(job_id)
        # The first attempt is deleted last: as long as it exists, the job counts as paid.
        for name in sorted((each.name for each in self.store.listing(folder)), reverse=True):
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
        """Return the random id of this journal, which is created at its first use."""
        if not self._id:
            self.store.create(self.key("id"), uuid4().hex.encode(), point="journal.identity")
            self._id = self.read_id()
        return self._id

    def read_id(self) -> str:
        """Return the id of this journal, or "" if it was never used."""
        stored = self.store.read(self.key("id"))
        return stored.data.decode() if stored else ""

    def key(self, name: str) -> str:
        """Return the key of an object of the namespace that is no entry."""
        return f"{self._root}/{name}"

    def _mark_of(self, key: str) -> Mark | None:
        stored = self.store.read(f"{key}.mark")
        if stored is None:
            return None
        try:
            return Mark(json.loads(stored.data)["mark"])
        except (ValueError, KeyError, TypeError):
            # A mark that cannot be read proves nothing: the attempt counts as charged.
            return None

    def _job_key(self, job_id: str) -> str:
        return f"{self._root}/jobs/{self.place_of(job_id)}"

    def _attempt_key(self, job_id: str, number: int) -> str:
        return f"{self._job_key(job_id)}/{number}"


def _outlasts(stored: Stored, end: End) -> bool:
    """Return whether a stored end of a job stays when this one is recorded."""
    try:
        before = End.from_json(stored.data)
    except UnreadableEntryError:
        return False
    is_success = before.state == "succeeded" and end.state != "succeeded"
    return is_success and before.attempt >= end.attempt


def _group(listed: Iterable[Listed], since: float) -> dict[str, list[str]]:
    """Group the objects of a page by job, without jobs of which nothing is as new as a time."""
    names: dict[str, list[str]] = {}
    newest: dict[str, float] = {}
    for each in listed:
        folder, _, name = each.name.partition("/")
        job_id = unquote(folder)
        names.setdefault(job_id, []).append(name)
        newest[job_id] = max(newest.get(job_id, 0.0), each.modified)
    return {job_id: found for job_id, found in names.items() if newest[job_id] >= since}
