"""Everything that can be set about the stand-in, from code or from the command line."""

import argparse
import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import SecretStr

WEEK_SECONDS = 7 * 24 * 3600.0
UPLOAD_LIMIT = 200 * 1024 * 1024


class ErrorStyle(StrEnum):
    """How a refusal with one of the vendor's own codes (1001-4002) travels."""

    ENVELOPE = "envelope"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class DurationRange:
    """A duration drawn between two bounds, in seconds."""

    shortest: float
    longest: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `MIN` or `MIN-MAX`.

        Raises:
            ValueError: Not numbers, negative, or the bounds are the wrong way round.
        """
        low, _, high = text.partition("-")
        span = cls(float(low), float(high or low))
        if not 0 <= span.shortest <= span.longest:
            raise ValueError(f"{text!r} is not MIN or MIN-MAX")
        return span

    def at(self, share: float) -> float:
        """The duration at a share (0-1) of the way between the bounds."""
        return self.shortest + (self.longest - self.shortest) * share


@dataclass(frozen=True, slots=True)
class RegisteredAccount:
    """A registered account that exists from the start."""

    token: SecretStr
    credits: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `TOKEN=CREDITS`.

        Raises:
            ValueError: No such form. The text is not repeated: it may hold a token.
        """
        token, mark, amount = text.rpartition("=")
        if not mark or not token or not amount.isdecimal():
            raise ValueError("an account is given as TOKEN=CREDITS")
        return cls(SecretStr(token), int(amount))


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The stand-in's settings. Durations are seconds and may be as short as milliseconds.

    Attributes:
        host: Loopback address to listen on.
        port: Port to listen on; 0 takes a free one.
        port_file: Where the port is written once the server listens.
        state_dir: Folder of uploads and clips; None makes one and removes it at the end.
        stream_seconds: How long a message's event stream lasts.
        heartbeat_seconds: Longest silence within a stream.
        render_seconds: Shortest time from an export to its completion.
        silent_ratio: Share of messages whose stream closes without a text.
        break_ratio: Share of messages whose stream is cut; the work goes on behind.
        fail_render_ratio: Share of renders that fail.
        seed: Decides which messages and renders those are.
        price: Credits for a clip.
        edit_price: Credits for a message in a session that already has a clip.
        accounts: Registered accounts, named `account-1`, `account-2`, … in the ledger.
        anonymous_credits: Balance of a new anonymous account.
        anonymous_may_render: Anonymous tokens may export too, which the real API refuses.
        token_seconds: Life of an anonymous token, and the window of its two limits.
        tokens_per_address: Anonymous tokens that one address may have at a time.
        keep_account: A client's next token opens the account of its last one; otherwise that
            account and its sessions stay out of reach.
        clip_height: Short side of a clip in pixels.
        link_seconds: Life of a download link; None never ends.
        upload_limit: Largest upload in bytes.
        error_style: How the vendor's own codes travel.
        requests_kept: Requests that the ledger remembers one by one.
    """

    host: str = "127.0.0.1"
    port: int = 0
    port_file: Path | None = None
    state_dir: Path | None = None
    stream_seconds: DurationRange = DurationRange(6.0, 12.0)
    heartbeat_seconds: float = 5.0
    render_seconds: float = 3.0
    silent_ratio: float = 0.3
    break_ratio: float = 0.0
    fail_render_ratio: float = 0.0
    seed: int = 0
    price: int = 100
    edit_price: int = 50
    accounts: tuple[RegisteredAccount, ...] = ()
    anonymous_credits: int = 100
    anonymous_may_render: bool = False
    token_seconds: float = WEEK_SECONDS
    tokens_per_address: int = 10
    keep_account: bool = True
    clip_height: int = 1080
    link_seconds: float | None = None
    upload_limit: int = UPLOAD_LIMIT
    error_style: ErrorStyle = ErrorStyle.ENVELOPE
    requests_kept: int = 200_000


def parse(argv: list[str] | None) -> Options:
    """Options from a command line.

    Args:
        argv: Arguments after the program's name; None reads those of the process.

    Returns:
        The options.

    Raises:
        SystemExit: An argument is wrong (status 2), or help was asked for.
    """
    base = Options()
    parser = argparse.ArgumentParser(prog="sandbox", description=__doc__)
    add = parser.add_argument
    add("--host", type=_loopback, default=base.host, help="loopback address")
    add("--port", type=int, default=base.port, help="0 takes a free port")
    add("--port-file", type=Path, help="written with the port once the server listens")
    add("--state-dir", type=Path, help="folder of uploads and clips")
    add("--stream-seconds", type=_span, default=base.stream_seconds, metavar="MIN[-MAX]")
    add("--heartbeat-seconds", type=_positive, default=base.heartbeat_seconds)
    add("--render-seconds", type=_seconds, default=base.render_seconds)
    add("--silent-ratio", type=_ratio, default=base.silent_ratio)
    add("--break-ratio", type=_ratio, default=base.break_ratio)
    add("--fail-render-ratio", type=_ratio, default=base.fail_render_ratio)
    add("--seed", type=int, default=base.seed)
    add("--price", type=_amount, default=base.price)
    add("--edit-price", type=_amount, default=base.edit_price)
    add("--account", dest="accounts", type=_grant, action="append", metavar="TOKEN=CREDITS")
    add("--anonymous-credits", type=_amount, default=base.anonymous_credits)
    add("--anonymous-may-render", action="store_true")
    add("--token-seconds", type=_positive, default=base.token_seconds)
    add("--tokens-per-address", type=_amount, default=base.tokens_per_address)
    add("--forget-account", dest="keep_account", action="store_false")
    add("--clip-height", type=_height, default=base.clip_height, help="short side in pixels")
    add("--link-seconds", type=_positive, help="life of a download link")
    add("--upload-limit", type=_amount, default=base.upload_limit, help="bytes")
    add("--error-style", type=ErrorStyle, choices=list(ErrorStyle), default=base.error_style)
    found = vars(parser.parse_args(argv))
    found["accounts"] = tuple(found["accounts"] or ())
    return Options(**found)


def _loopback(text: str) -> str:
    address = "127.0.0.1" if text == "localhost" else text
    try:
        local = ipaddress.ip_address(address).is_loopback
    except ValueError:
        local = False
    if not local:
        raise argparse.ArgumentTypeError("the stand-in listens on loopback addresses only")
    return address


def _span(text: str) -> DurationRange:
    try:
        return DurationRange.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _grant(text: str) -> RegisteredAccount:
    try:
        return RegisteredAccount.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    return _within(text, 0.0, float("inf"))


def _positive(text: str) -> float:
    return _within(text, 0.001, float("inf"))


def _ratio(text: str) -> float:
    return _within(text, 0.0, 1.0)


def _amount(text: str) -> int:
    return int(_within(text, 0, 2**62))


def _height(text: str) -> int:
    return int(_within(text, 32, 2160))


def _within(text: str, low: float, high: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not low <= number <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low:g} to {high:g}")
    return number
