"""Random numbers that are the same in every run with the same seed."""

import random


def draw(seed: int, *what: object) -> float:
    """Draw a number in [0, 1) for a decision, whatever else was drawn before.

    Args:
        seed: The seed of the run.
        what: The decision, for instance its kind and its number.
    """
    return random.Random(repr((seed, *what))).random()  # noqa: S311 - not for cryptography
