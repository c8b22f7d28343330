"""Names that people use for jobs and batches: an id, the beginning of one, or a batch's name."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from tasks.producer.producer import Producer
from tasks.schema.batch import batch_id_for
from tasks.schema.errors import AmbiguousId, UnknownId
from worker.ledger.connections.connection import replies
from worker.shown_text import is_showable, on_one_line

MIN_ID_LENGTH: Final = 8
"""The fewest characters by which the beginning of an id names a job or a batch."""
_ID_PREFIX: Final = re.compile(rf"[0-9a-f-]{{{MIN_ID_LENGTH},35}}")
_SCAN_SIZE: Final = 5000
"""How many ids one call of Redis scans."""
_MAX_LISTED: Final = 4


@dataclass(frozen=True, slots=True)
class Named:
    """A job or a batch that somebody named."""

    id: str
    is_batch: bool

    def __str__(self) -> str:
        """Return "job" or "batch", and the id."""
        return f"{'batch' if self.is_batch else 'job'} {self.id}"


def find(producer: Producer, text: str) -> Named:
    """Return the job or the batch that a text names.

    Raises:
        UnknownId: There is none.
        AmbiguousId: There are several.
        RedisUnavailable: Redis does not answer.
    """
    return _only(text, _found(producer, text), "no job and no batch")


def find_batch(producer: Producer, text: str) -> str:
    """Return the id of the batch that a text names; the errors are as in ``find``."""
    found = _found(producer, text)
    batches = [named for named in found if named.is_batch]
    if found and not batches:
        raise UnknownId(f"{text} is a job, not a batch.{_batch_of(producer, found[0].id)}")
    return _only(text, batches, "no batch").id


def find_job(producer: Producer, text: str) -> str:
    """Return the id of the job that a text names; the errors are as in ``find``."""
    found = _found(producer, text)
    jobs = [named for named in found if not named.is_batch]
    if found and not jobs:
        batch_id = found[0].id
        raise UnknownId(
            f"{text} is a batch: name one of its jobs (`reelqueue list --batch {batch_id}`)."
        )
    return _only(text, jobs, "no job").id


def _only(text: str, found: list[Named], nothing: str) -> Named:
    if not found:
        is_short = re.fullmatch(rf"[0-9a-f-]{{4,{MIN_ID_LENGTH - 1}}}", text.lower())
        advice = f" Give at least {MIN_ID_LENGTH} characters of an id." if is_short else ""
        shown = on_one_line(text) or '"" (an empty name)'
        raise UnknownId(f"There is {nothing} {shown}.{advice}")
    if len(found) > 1:
        more = ", …" if len(found) > _MAX_LISTED else ""
        listed = ", ".join(map(str, found[:_MAX_LISTED]))
        raise AmbiguousId(f"{text} may be any of these: {listed}{more}. Give the whole id.")
    return found[0]


def _found(producer: Producer, text: str) -> list[Named]:
    """Return all that a text may name. A whole id names only its own job or batch."""
    if not is_showable(text):
        return []
    with producer.redis_errors():
        ledger = producer.ledger
        if ledger.batch(text) is not None:
            return [Named(text, is_batch=True)]
        if next(ledger.jobs([text]), None) is not None:
            return [Named(text, is_batch=False)]
        named = [Named(id_, is_batch=True) for id_ in _batches_named(producer, text)]
        # One more than is listed shows that there are more.
        other = islice(_with_prefix(producer, text.lower()), _MAX_LISTED + 1)
        return list(dict.fromkeys([*named, *other]))


def _batches_named(producer: Producer, name: str) -> list[str]:
    """Return the batches with a name, whatever Unicode form its accents have."""
    ledger = producer.ledger
    own_id = batch_id_for(name)
    if ledger.batch(own_id) is not None:
        return [own_id]
    batch_ids = ledger.batch_ids()
    with ledger.redis.pipeline(transaction=False) as pipe:
        for batch_id in batch_ids:
            pipe.hget(ledger.key("batch", batch_id), "name")
        names = replies(pipe)
    wanted = _as_shown(name)
    return [
        batch_id
        for batch_id, found in zip(batch_ids, names, strict=True)
        if isinstance(found, str) and _as_shown(found) == wanted
    ]


def _with_prefix(producer: Producer, text: str) -> Iterator[Named]:
    """Yield the batches and jobs whose ids begin with a text."""
    if not _ID_PREFIX.fullmatch(text):
        return
    ledger = producer.ledger
    for kind in ("batches", "jobs"):
        found = ledger.redis.zscan_iter(ledger.key(kind), match=f"{text}*", count=_SCAN_SIZE)
        yield from (Named(any_id, kind == "batches") for any_id, _ in found)


def _batch_of(producer: Producer, job_id: str) -> str:
    with producer.redis_errors():
        job = next(producer.ledger.jobs([job_id]), None)
    return f" It belongs to batch {job.batch_id}." if job and job.batch_id else ""


def _as_shown(name: str) -> str:
    return unicodedata.normalize("NFC", on_one_line(name)).strip()
