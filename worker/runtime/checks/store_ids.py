"""The ids of the stores that the live workers use, by which a caller finds that it uses another.

The addresses cannot be compared: the same store has several, as in containers, and the same
address means another folder on another machine.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import structlog
from redis.exceptions import ResponseError

from worker.ledger.ledger import Ledger
from worker.storage.errors import StoreError
from worker.storage.store import Store

if TYPE_CHECKING:
    # A caller of `check_same_store` needs none of what a worker process is made of.
    from worker.runtime.runtime import Runtime

log = structlog.get_logger(__name__)

ANNOUNCE_SECONDS: Final = 60.0
KEY: Final = "worker_stores"


def announce_stores(runtime: "Runtime", worker: str) -> None:
    """Record the ids and the addresses of a worker's stores. Blocks while a store is slow.

    Args:
        runtime: The process.
        worker: The worker's name in the registry.
    """
    found = {}
    for name, store in (("media", runtime.media), ("output", runtime.output)):
        try:
            found[name] = [store.ensure_id(), store.address]
        except StoreError as error:
            log.warning("store has no id", store=store.address, error=error.message)
    runtime.ledger.redis.hset(runtime.ledger.key(KEY), worker, json.dumps(found))


def announced_stores(ledger: Ledger, name: str) -> Mapping[str, str]:
    """Return the addresses of the live workers' stores by their ids.

    Args:
        ledger: The ledger.
        name: ``media`` or ``output``.
    """
    alive = ledger.redis.zrangebyscore(ledger.key("workers"), ledger.now_ms(), "+inf")
    records = ledger.redis.hmget(ledger.key(KEY), alive) if alive else []
    stores = (json.loads(record).get(name) for record in records if record)
    return dict(store for store in stores if store)


def check_same_store(ledger: Ledger, name: str, store: Store) -> None:
    """Check that a live worker uses a store. Without a live worker, any store is accepted.

    Raises:
        StoreError: All live workers use other stores, or the store does not answer.
    """
    try:
        announced = announced_stores(ledger, name)
    except (ResponseError, ValueError):
        return
    if not announced or store.read_id() in announced:
        return
    others = ", ".join(sorted(set(announced.values())))
    setting = f"REELQUEUE_{name.upper()}_URL"
    raise StoreError(
        f"The {name} store of this process, {store.address}, is not the one of the workers, "
        f"{others}.",
        f"Set {setting} to the same store here and in the workers, as an absolute address.",
        store.address,
    )
