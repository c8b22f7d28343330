"""The ids of the stores that the live workers use, to find out whether a caller uses the same.

The addresses cannot be compared: one store can have several, as in containers, and one address can
mean a different folder on each machine.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import structlog
from redis.exceptions import ResponseError

from worker.ledger.ledger import Ledger
from worker.ledger.problems import Part, report_problem
from worker.runtime.worker_registry import live_entries
from worker.storage.errors import StoreError
from worker.storage.store import Store

if TYPE_CHECKING:
    # Callers of `check_same_store` do not load the parts of a worker process.
    from worker.runtime.runtime import Runtime

log = structlog.get_logger(__name__)

ANNOUNCE_SECONDS: Final = 60.0
KEY: Final = "worker_stores"


def announce_stores(runtime: "Runtime", worker: str) -> None:
    """Record the ids and the addresses of a worker's stores. Blocks while a store is slow.

    A store whose id has changed keeps the old one here, and is reported: its folder exists, but the
    file system that was mounted there does not.

    Args:
        runtime: The process.
        worker: The worker's name in the registry.
    """
    ledger, stores = runtime.ledger, (("media", runtime.media), ("output", runtime.output))
    before = json.loads(ledger.redis.hget(ledger.key(KEY), worker) or "{}")
    found = {}
    for name, store in stores:
        try:
            known, *_ = before.get(name) or (None,)
            if known is not None and store.read_id() != known:
                found[name] = before[name]
                _report_change(runtime, name, store)
            else:
                found[name] = [store.ensure_id(), store.address]
        except StoreError as error:
            log.warning("store has no id", store=store.address, error=error.message)
    ledger.redis.hset(ledger.key(KEY), worker, json.dumps(found))


def _report_change(runtime: "Runtime", name: str, store: Store) -> None:
    part = Part.MEDIA_STORE if name == "media" else Part.OUTPUT_STORE
    message = f"The {name} store {store.address} is no longer the same store."
    remedy = "Mount it again; if it was replaced on purpose, restart the workers."
    if report_problem(runtime.ledger, part, message, remedy):
        log.warning("store has changed", store=store.address, remedy=remedy)


def announced_stores(ledger: Ledger, name: str) -> Mapping[str, str]:
    """Return the addresses of the live workers' stores by their ids; empty if they are unreadable.

    Args:
        ledger: The ledger.
        name: ``media`` or ``output``.
    """
    try:
        records = live_entries(ledger, KEY)
        stores = (json.loads(record).get(name) for record in records if record)
        return dict(store for store in stores if store)
    except (ResponseError, ValueError):
        return {}


def check_same_store(ledger: Ledger, name: str, store: Store) -> None:
    """Check that a live worker uses a store. Without a live worker, any store is accepted.

    Raises:
        StoreError: All live workers use other stores, or the store does not answer.
    """
    announced = announced_stores(ledger, name)
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


def other_stores(ledger: Ledger, name: str, store: Store) -> StoreError | None:
    """Return why a file in this store may be missing for a worker; None if all use this store.

    Raises:
        StoreError: The store does not answer.
    """
    announced = announced_stores(ledger, name)
    if not announced or set(announced) == {store.read_id()}:
        return None
    return StoreError(
        f"The workers do not use the same {name} store: that of this one is {store.address}, and "
        f"the workers have announced {', '.join(sorted(set(announced.values())))}.",
        f"Set REELQUEUE_{name.upper()}_URL to the same store in all workers, as an absolute "
        "address. If it is not mounted, mount it.",
        store.address,
    )
