"""Random changes of bytes, as of messages that are damaged or made up."""

import random


def mutated(chance: random.Random, whole: bytes) -> bytes:
    """Replace, delete or insert a few bytes; what is left is never empty."""
    changed = bytearray(whole)
    for _ in range(chance.randint(1, 8)):
        place = chance.randrange(len(changed))
        match chance.randrange(3):
            case 0:
                changed[place] = chance.randrange(256)
            case 1:
                del changed[place : place + chance.randint(1, 30)]
            case _:
                changed[place:place] = chance.randbytes(chance.randint(1, 5))
        changed = changed or bytearray(b"x")
    return bytes(changed)
