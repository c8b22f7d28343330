"""Random numbers that are the same in every run with the same seed."""

import random


def draw(seed: int, *what: object) -> float:
    """Draw a number in [0, 1) for a decision. It does not depend on the numbers drawn before.

    Args:
        seed: The seed of the run.
        what: Identifies the decision, for example by its kind and a number.
    """
    return random.Random(repr((seed, *what))).random()  # noqa: S311 - not for cryptography
