"""File names in the output store: the first job that reserves a name keeps it."""

import unicodedata

from worker.ledger.ledger import Ledger


def reserve_name(ledger: Ledger, folder: str, name: str, job_id: str) -> bool:
    """Reserve a file name in a folder for a job. Safe twice.

    Names that some file systems do not distinguish, such as ``Cat`` and ``cat``, count as one.

    Returns:
        False if another job has reserved the name.
    """
    key, field = ledger.key("names", folder), folded(name)
    if ledger.redis.hsetnx(key, field, job_id):
        return True
    return bool(ledger.redis.hget(key, field) == job_id)


def folded(name: str) -> str:
    """Return the form in which names are compared: without case, in one Unicode form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
