"""Scratch folders: temporary folders on the local disk for files in progress."""

import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import Final

_PREFIX: Final = "reelqueue-"


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """Create a folder that is deleted at the end of its block, unless the process is killed."""
    return tempfile.TemporaryDirectory(prefix=_PREFIX)


def sweep_scratch_folders(seconds: float) -> int:
    """Delete this user's scratch folders without changes for this long; return how many."""
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
