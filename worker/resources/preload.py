"""Imports early what the threads of `worker.resources.offload` would import at first use."""

import importlib
from typing import Final

from PIL import Image

_LAZY_MODULES: Final = (
    "encodings.idna",  # by the resolver of host names
    *("av.subtitles.codeccontext", "av.subtitles.stream"),  # by PyAV, when it opens a file
)


def preload_modules() -> None:
    """Import every module that code in the thread pools may need.

    Call it once a process, before the first call of `worker.resources.offload`. Under gevent,
    Python's import locks are gevent's, which do not work between threads: two threads that import
    the same module at the same time can wait forever, and their jobs with them.
    """
    # All of Pillow's plugins: Pillow tries each of them on a damaged image.
    Image.init()
    for name in _LAZY_MODULES:
        importlib.import_module(name)
