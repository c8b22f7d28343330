"""Chance that falls the same way at every run with the same seed."""

import random


def draw(seed: int, *what: object) -> float:
    """A number in [0, 1) that belongs to a thing, whatever else was drawn before it.

    Args:
        seed: The run's seed.
        what: What is decided, for instance the kind of decision and its number.

    Returns:
        The number.
    """
    return random.Random(repr((seed, *what))).random()  # noqa: S311 - a dice, not a secret
