"""The ids that distinguish a ledger from its clones and its older copies."""

from collections.abc import Mapping
from typing import Any, Final

from worker.journal.identity import LedgerIdentity
from worker.journal.mirror import Mirror
from worker.ledger.ledger import Ledger
from worker.ledger.model.fields import int_or_zero

MOVING: Final = "moving to another journal"
"""Stored in place of a journal's id while payments are copied to another one: nobody pays then."""

_FIELDS: Final = (
    *("journal_id", "ledger_id", "epoch", "intents", "recovering"),
    *("paying_stopped", "recovered_at", "starting"),
)


class LedgerIds:
    """Reads and writes the ids of a ledger. Each method raises `RedisError`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._meta = ledger.key("meta")
        self.recovered_at = 0
        """When the ledger was last recovered, in ms of its clock, as of the last reading."""

    def read(self) -> LedgerIdentity:
        """Read the identity in the ledger."""
        # One transaction, so that the run and the ids are of the same server.
        with self._ledger.redis.pipeline() as pipe:
            pipe.info()
            pipe.hmget(self._meta, *_FIELDS)
            info, fields = pipe.execute()
        journal, own, epoch, counter, recovering, stopped, recovered, starting = fields
        self.recovered_at = int_or_zero(recovered)
        return LedgerIdentity(
            journal_id=journal or "",
            ledger_id=own or "",
            epoch=int_or_zero(epoch),
            counter=int_or_zero(counter),
            run_id=self._run_id(info),
            recovering=int_or_zero(recovering),
            stopped=bool(stopped),
            starting=starting or "",
        )

    def begin_start(self, ledger_id: str) -> str:
        """Note the id that the ledger is to have, before its first mirror is created.

        Returns:
            The id that is noted: another worker may have begun the start before.
        """
        redis = self._ledger.redis
        redis.hsetnx(self._meta, "starting", ledger_id)
        return str(redis.hget(self._meta, "starting") or ledger_id)

    def end_start(self, mirror: Mirror) -> None:
        """Copy the ids of the first mirror, if what `begin_start` noted is still there.

        If it is not, Redis has lost records since, or another worker has ended the start. A ledger
        that belongs to another journal by now keeps its ids as well.
        """

        def copy(pipe: Any) -> None:  # noqa: ANN401 - redis-py's types do not fit
            starting, journal = pipe.hmget(self._meta, "starting", "journal_id")
            pipe.multi()
            if starting == mirror.ledger_id and journal in (None, mirror.journal_id):
                ids = {"journal_id": mirror.journal_id, "ledger_id": mirror.ledger_id}
                pipe.hset(self._meta, mapping={**ids, "epoch": mirror.epoch})
                pipe.hdel(self._meta, "starting")

        self._ledger.redis.transaction(copy, self._meta)

    def begin_recovery(self, mirror: Mirror) -> None:
        """Record that a recovery has begun. If that is gone later, Redis has lost data again."""
        with self._ledger.redis.pipeline() as pipe:
            fields = {"recovering": mirror.epoch, "ledger_id": mirror.ledger_id}
            pipe.hset(self._meta, mapping=fields)
            pipe.hdel(self._meta, "paying_stopped")
            pipe.execute()

    def end_recovery(self, mirror: Mirror) -> bool:
        """Write that the ledger belongs to a mirror's journal, which it was recovered from.

        Returns:
            False if the record that the recovery has begun is gone: Redis has lost data again.
        """
        return self._set_identity(mirror, recovering=str(mirror.epoch))

    def belong_to(self, mirror: Mirror) -> None:
        """Write that the ledger belongs to a journal, into which its payments were copied."""
        self._set_identity(mirror, recovering="")

    def stop_paying(self) -> None:
        """Record that this ledger is a clone, which pays only after a person's recovery."""
        self._ledger.redis.hset(self._meta, "paying_stopped", "clone")

    def begin_move(self) -> None:
        """Detach the ledger from its journal: nobody pays until it belongs to another one."""
        self._ledger.redis.hset(self._meta, "journal_id", MOVING)

    def _set_identity(self, mirror: Mirror, *, recovering: str) -> bool:
        ids = (mirror.journal_id, mirror.ledger_id, mirror.epoch, mirror.counter, recovering)
        return bool(self._ledger.scripts.run("set_identity", *ids) == "OK")

    def _run_id(self, info: Mapping[str, Any]) -> str:
        """Return the run of the server with the database; "replica" if nobody may pay with it."""
        database = self._ledger.redis.connection_pool.connection_kwargs.get("db", 0)
        return f"{info['run_id']}/{database}" if info.get("role") != "slave" else "replica"
