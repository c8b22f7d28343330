"""The mirror: an object beside the entries that says which ledger this journal belongs to."""

import json
from dataclasses import asdict, dataclass
from typing import Final

from worker.journal.journal import Journal
from worker.journal.stores import JournalFailed

_NAME: Final = "mirror"


@dataclass(frozen=True, slots=True)
class Mirror:
    """The identity of the journal's ledger, as stored in the journal.

    Attributes:
        journal_id: The id of this journal.
        ledger_id: The id of the ledger that it belongs to.
        epoch: Raised by each recovery.
        counter: How many intents to pay the ledger had written when the mirror was renewed.
        run_id: The run id of the Redis server at that time. It changes with each start.
        writer: The id of the worker process that renewed it.
        renewed_at: Milliseconds since the epoch, by the writer's clock. Only people read it.
        recovering: Whether the recovery that raised the epoch has not ended yet.
        place: The last page that this recovery has noted as restored, or "".
        since: This recovery reads what was written from this time on, in seconds by the store's
            clock. 0 for everything.
    """

    journal_id: str
    ledger_id: str
    epoch: int
    counter: int
    run_id: str
    writer: str
    renewed_at: int
    recovering: bool = False
    place: str = ""
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class ReadMirror:
    """A mirror, the version that its replacement must name, and when the store wrote it."""

    mirror: Mirror
    version: str
    modified: float


class MirrorObject:
    """Reads and replaces the mirror of a journal. Each method raises `JournalFailed`."""

    def __init__(self, journal: Journal) -> None:
        self._store = journal.store
        self._key = journal.key(_NAME)

    def read(self) -> ReadMirror | None:
        """Read the mirror. None if this journal has none yet."""
        stored = self._store.read(self._key)
        if stored is None:
            return None
        try:
            mirror = Mirror(**json.loads(stored.data))
        except (ValueError, TypeError) as error:
            raise JournalFailed(
                f"The mirror of the payment journal {self._store.address} cannot be read: {error}.",
                f"Restore the object {self._key} there, or run `reelqueue recover --new-journal`.",
            ) from error
        return ReadMirror(mirror, stored.version, stored.modified)

    def create(self, mirror: Mirror) -> bool:
        """Create the mirror. False if there is one already."""
        return self._store.create(self._key, _dump(mirror), point="journal.identity")

    def replace(self, mirror: Mirror, version: str) -> bool:
        """Replace the mirror if it still has this version. False if another process has."""
        return self._store.replace(self._key, _dump(mirror), version, point="journal.mirror")

    def overwrite(self, mirror: Mirror) -> None:
        """Write the mirror, whether there is one or not: a person has decided so."""
        self._store.put(self._key, _dump(mirror))


def _dump(mirror: Mirror) -> bytes:
    return json.dumps(asdict(mirror), separators=(",", ":")).encode()
