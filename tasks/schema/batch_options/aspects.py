"""The aspect ratios of a batch. Each row becomes one job for each of them."""

from collections.abc import Iterable
from typing import Final, cast, get_args

from tasks.schema.errors import InvalidPayloadError
from tasks.schema.image_job import MAX_KEY, Aspect, ImageJob

_NAMES: Final[tuple[Aspect, ...]] = get_args(Aspect)


def read_aspects(names: Iterable[str]) -> tuple[Aspect, ...]:
    """Check the names of aspect ratios, and return them in the same order without duplicates.

    Raises:
        InvalidPayloadError: A name is unknown, or there is none.
    """
    given = [name.strip() for name in names]
    wrong = [name for name in given if name not in _NAMES]
    if wrong or not given:
        found = f", not {', '.join(map(repr, wrong))}" if wrong else ""
        raise InvalidPayloadError([f"aspect: must be one or more of {', '.join(_NAMES)}{found}"])
    return tuple(dict.fromkeys(cast("list[Aspect]", given)))


def variants(job: ImageJob, aspects: Iterable[Aspect]) -> list[ImageJob]:
    """Return one job for each aspect ratio of a batch, made from a row's job.

    If the row has a key, the aspect ratio is appended to it. A job that has an aspect ratio of its
    own, or is in a batch without aspect ratios, is returned unchanged.

    Raises:
        InvalidPayloadError: The key is too long to append an aspect ratio.
    """
    made = [_variant(job, aspect) for aspect in aspects] if job.aspect is None else []
    if any(len(variant.key or "") > MAX_KEY for variant in made):
        longest = max(map(len, _NAMES)) + 1
        raise InvalidPayloadError(
            [f"key: must have at most {MAX_KEY - longest} characters, because --aspect adds to it"]
        )
    return made or [job]


def _variant(job: ImageJob, aspect: Aspect) -> ImageJob:
    key = f"{job.key}:{aspect}" if job.key else None
    return job.model_copy(update={"aspect": aspect, "key": key})
