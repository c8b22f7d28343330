"""Scratch folders: where files lie while they are worked on, on the local disk.

A process that is killed leaves its own behind.
"""

import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import Final

_PREFIX: Final = "reelqueue-"


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that is gone with its block."""
    return tempfile.TemporaryDirectory(prefix=_PREFIX)


def sweep_scratch_folders(seconds: float) -> int:
    """Remove this user's folders in which nothing was made for so long. Their number."""
    before, swept = time.time() - seconds, 0
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            found = folder.lstat()
        except OSError:
            continue
        is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
        if is_ours and found.st_mtime < before:
            shutil.rmtree(folder, ignore_errors=True)
            swept += 1
    return swept
