"""Copies of callers' files in the media store, if it is the one that the workers use."""

import threading
from pathlib import Path

from tasks.producer.local_files import StoreFile
from tasks.producer.producer import Producer
from tasks.schema.media_keys import content_suffix
from worker.runtime.checks.store_ids import check_same_store


def copy_to_media_store(producer: Producer) -> StoreFile:
    """Return a function that copies files into the producer's media store.

    At its first call, the function raises `StoreError` if all live workers use another store.
    """
    lock = threading.Lock()
    is_checked = False

    def copy(path: Path, name: str) -> str:
        nonlocal is_checked
        with lock:
            if not is_checked:
                with producer.redis_errors():
                    check_same_store(producer.ledger, "media", producer.media)
                is_checked = True
        return producer.media.put_content(path, content_suffix(name))

    return copy
