"""Types of the stand-in's options, and how each is read from a command-line argument."""

import ipaddress
from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from pydantic import SecretStr


class ErrorStyle(StrEnum):
    """How an error with one of the vendor's own codes (1001-4002) is sent."""

    ENVELOPE = "envelope"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class DurationRange:
    """A range of durations in seconds, from which one is drawn."""

    shortest: float
    longest: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `MIN` or `MIN-MAX`."""
        low, _, high = text.partition("-")
        try:
            found = cls(float(low), float(high or low))
        except ValueError:
            found = cls(-1.0, -1.0)
        if not 0 <= found.shortest <= found.longest:
            raise ArgumentTypeError(f"{text!r} is not MIN or MIN-MAX")
        return found

    def at(self, share: float) -> float:
        """Return the duration at a share (0-1) of the way from the shortest to the longest."""
        return self.shortest + (self.longest - self.shortest) * share

    def __str__(self) -> str:
        """Return the range as it is written on the command line."""
        return f"{self.shortest:g}-{self.longest:g}"


@dataclass(frozen=True, slots=True)
class RegisteredAccount:
    """A registered account that exists when the stand-in starts."""

    token: SecretStr
    credits: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `TOKEN=CREDITS`. An error does not repeat the text, which may hold a token."""
        token, _, amount = text.rpartition("=")
        if not token or not amount.isdecimal():
            raise ArgumentTypeError("an account is given as TOKEN=CREDITS")
        return cls(SecretStr(token), int(amount))


def parse_loopback_address(text: str) -> str:
    """Read a loopback address or `localhost`."""
    address = "127.0.0.1" if text == "localhost" else text
    try:
        local = ipaddress.ip_address(address).is_loopback
    except ValueError:
        local = False
    if not local:
        raise ArgumentTypeError("the stand-in listens on loopback addresses only")
    return address


def number(low: float, high: float) -> Callable[[str], float]:
    """Return a function that reads a number between two bounds."""

    def parse(text: str) -> float:
        try:
            found = float(text)
        except ValueError:
            found = float("nan")
        if not low <= found <= high:
            raise ArgumentTypeError(f"{text!r} is not a number from {low:g} to {high:g}")
        return found

    return parse


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """Return a function that reads a number between two bounds and drops its fraction."""
    parse = number(low, high)
    return lambda text: int(parse(text))
