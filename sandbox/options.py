"""The stand-in's options, and the command line that sets them."""

import argparse
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sandbox.option_types import (
    DurationRange,
    ErrorStyle,
    RegisteredAccount,
    number,
    parse_loopback_address,
    whole_number,
)

_INFINITE = float("inf")
_DURATION = number(0.0, _INFINITE)
_POSITIVE_DURATION = number(0.001, _INFINITE)
_RATIO = number(0.0, 1.0)
_AMOUNT = whole_number(0, 2**62)
_PORT = whole_number(0, 2**16 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The stand-in's options; `parse` explains each. All durations are seconds."""

    host: str = "127.0.0.1"
    port: int = 0
    port_file: Path | None = None
    state_dir: Path | None = None
    stream_seconds: DurationRange = DurationRange(6.0, 12.0)  # noqa: RUF009 - it is frozen
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
    token_seconds: float = 7 * 24 * 3600.0
    tokens_per_address: int = 10
    keep_account: bool = True
    clip_height: int = 1080
    link_seconds: float | None = None
    upload_limit: int = 200 * 1024 * 1024
    error_style: ErrorStyle = ErrorStyle.ENVELOPE
    requests_kept: int = 200_000


def parse(argv: list[str] | None, program: str = "sandbox") -> Options:
    """Read the options from a command line.

    Args:
        argv: The arguments after the program's name; None reads those of the process.
        program: The name in the help and in error messages.

    Raises:
        SystemExit: An argument is invalid (status 2), or is ``--help`` (status 0).
    """
    parser = argparse.ArgumentParser(
        prog=program,
        description="Run a local stand-in of the video API. It replies to the API's calls, charges "
        "pretend credits and renders real MP4 files. No data leaves this machine. Sessions and "
        "balances are lost when it stops. All durations are in seconds and may have fractions.",
    )
    defaults = {option.name: option.default for option in fields(Options)}

    def add(
        option: str,
        text: str,
        default_in_words: str = "",
        *,
        flag: str = "",
        **settings: Any,  # noqa: ANN401 - passed on to argparse
    ) -> None:
        default = defaults[option]
        parser.add_argument(
            flag or f"--{option.replace('_', '-')}",
            dest=option,
            default=default,
            help=f"{text} (default: {default_in_words or default})",
            **settings,
        )

    add("host", "loopback address to listen on", type=parse_loopback_address)
    add("port", "port to listen on; 0 chooses a free one", type=_PORT)
    add("port_file", "file to write the port to when the stand-in listens", "none", type=Path)
    add(
        "state_dir",
        "folder of uploads and clips",
        "a temporary folder, which is deleted at the end",
        type=Path,
    )
    add("stream_seconds", "duration of a stream: MIN or MIN-MAX", type=DurationRange.parse)
    add("heartbeat_seconds", "longest silence in a stream", type=_POSITIVE_DURATION)
    add("render_seconds", "shortest time from an export to its completion", type=_DURATION)
    add("silent_ratio", "share (0-1) of messages whose stream ends without a text", type=_RATIO)
    add("break_ratio", "share (0-1) of messages whose stream is cut during the work", type=_RATIO)
    add("fail_render_ratio", "share (0-1) of renders that fail", type=_RATIO)
    add("seed", "seed of the random decisions; the same seed repeats them", type=int)
    add("price", "credits for the first clip of a session", type=_AMOUNT)
    add("edit_price", "credits for a message in a session that has a clip", type=_AMOUNT)
    add(
        "accounts",
        "token and balance of a registered account; repeat the option for several accounts, which "
        "are named account-1, account-2, ...",
        "none",
        flag="--account",
        action="append",
        type=RegisteredAccount.parse,
        metavar="TOKEN=CREDITS",
    )
    add("anonymous_credits", "balance of a new anonymous account", type=_AMOUNT)
    add(
        "anonymous_may_render",
        "allow export to anonymous tokens",
        "export is refused with 402, as by the real API",
        action="store_true",
    )
    add(
        "token_seconds",
        "how long an anonymous token is valid; a client can have one valid token at a time",
        "604800, which is 7 days",
        type=_POSITIVE_DURATION,
    )
    add("tokens_per_address", "most valid anonymous tokens of one IP address", type=_AMOUNT)
    add(
        "keep_account",
        "create a new account for each token of a client, which then loses its earlier sessions",
        "all tokens of a client belong to the same account",
        flag="--forget-account",
        action="store_false",
    )
    add("clip_height", "short side of a clip in pixels, 32-2160", type=whole_number(32, 2160))
    add("link_seconds", "how long a download link is valid", "unlimited", type=_POSITIVE_DURATION)
    add("upload_limit", "largest upload in bytes", "209715200, which is 200 MiB", type=_AMOUNT)
    add(
        "error_style",
        "how the vendor's codes (1001-4002) are sent: with HTTP 200, or with a 4xx status",
        type=ErrorStyle,
        choices=list(ErrorStyle),
    )
    add("requests_kept", "number of latest requests that /sandbox/ledger lists", type=_AMOUNT)
    parser.set_defaults(accounts=[])  # argparse appends to a list
    found = vars(parser.parse_args(argv))
    return Options(**{**found, "accounts": tuple(found["accounts"])})
