"""Which job has which file name in the output store: first come, first served, for good."""

import unicodedata

from worker.ledger.ledger import Ledger


def reserve_name(ledger: Ledger, folder: str, name: str, job_id: str) -> bool:
    """Take a name for a job. Safe twice.

    Two names that some file system takes for one, such as ``Cat`` and ``cat``, are one here.

    Returns:
        Whether it is this job's; False: another job has it.
    """
    key, field = ledger.key("names", folder), folded(name)
    ledger.redis.hsetnx(key, field, job_id)
    return bool(ledger.redis.hget(key, field) == job_id)


def folded(name: str) -> str:
    """What all names have in common that a file system without case takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
