"""Aspect ratios that a batch asks for, each as a clip of its own for every row."""

from collections.abc import Iterable
from typing import Final, cast, get_args

from tasks.schema.errors import InvalidPayloadError
from tasks.schema.image_job import MAX_KEY, Aspect, ImageJob

_NAMES: Final[tuple[Aspect, ...]] = get_args(Aspect)


def read_aspects(names: Iterable[str]) -> tuple[Aspect, ...]:
    """Return aspect ratios by their names, each once, in the order given.

    Raises:
        InvalidPayloadError: A name is not one of them, or there is none.
    """
    given = [name.strip() for name in names]
    wrong = [name for name in given if name not in _NAMES]
    if wrong or not given:
        found = f", not {', '.join(map(repr, wrong))}" if wrong else ""
        raise InvalidPayloadError([f"aspect: must be {', '.join(_NAMES)}, or some of them{found}"])
    return tuple(dict.fromkeys(cast("list[Aspect]", given)))


def variants(job: ImageJob, aspects: Iterable[Aspect]) -> list[ImageJob]:
    """Return a row's job in each aspect that its batch asks for.

    If the job has a key, the aspect is appended to it.

    A job with an aspect of its own, and one of a batch that asks for none, is returned as it is.

    Raises:
        InvalidPayloadError: The key is too long to name an aspect too.
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
