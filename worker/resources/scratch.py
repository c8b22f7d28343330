"""Scratch folders: temporary folders on the local disk for files in progress."""

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from worker.resources.offload import offload_later

_PREFIX: Final = "reelqueue-"


@contextmanager
def scratch_folder() -> Iterator[str]:
    """Create a folder that is deleted after its block, unless the process is killed.

    Under gevent a thread deletes it, because that waits for the disk, on some file systems as long
    as for a network request.
    """
    folder = tempfile.mkdtemp(prefix=_PREFIX)
    try:
        yield folder
    finally:
        offload_later(_delete_now, folder)


def _delete_now(folder: str) -> None:
    with suppress(OSError):  # the sweep deletes it after a day
        _delete(folder)


def _delete(folder: str) -> None:
    """Delete a folder that no other user can change.

    `shutil.rmtree` opens each folder, to be safe from other users. That takes twice as long, and
    under gevent it involves the hub.
    """
    with os.scandir(folder) as found:
        entries = list(found)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            _delete(entry.path)
        else:
            Path(entry.path).unlink()
    Path(folder).rmdir()


def sweep_scratch_folders(seconds: float) -> int:
    """Delete this user's scratch folders that were not changed for ``seconds``; return how many."""
    before, swept = time.time() - seconds, 0
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            found = folder.lstat()
        except OSError:
            continue
        is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
        if is_own and found.st_mtime < before:
            shutil.rmtree(folder, ignore_errors=True)
            swept += 1
    return swept
