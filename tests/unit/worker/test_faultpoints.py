"""Fault points inject a fault only if they are armed, and only at the named passage."""

import errno
import os
import signal
import subprocess
import sys
from collections import Counter

import pytest

from worker import faultpoints
from worker.faultpoints import POINTS, VARIABLE, faultpoint, parse


@pytest.fixture
def arm(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Start with no point passed."""
    monkeypatch.setattr(faultpoints, "_passages", Counter())
    return monkeypatch


def set_faults(arm: pytest.MonkeyPatch, text: str) -> None:
    arm.setattr(faultpoints, "_faults", parse(text))


def passes(name: str) -> bool:
    """Pass a point, both its sides. False: a fault was injected."""
    try:
        with faultpoint(name):
            pass
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    "text",
    [
        "claim",
        "claim=kill@1",
        "claim:before",
        "claim:before=kill",
        "claim:before=kill@",
        "claim:before=kill@0",
        "claim:before=kill@-1",
        "claim:before=burn@1",
        "claim:while=kill@1",
        "nowhere:before=kill@1",
        "due:before=kill@1,claim:before",
        "claim:before=kill@1 ",
    ],
)
def test_a_malformed_specification_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="not a fault point with an action") as caught:
        parse(text)
    assert VARIABLE in str(caught.value)
    assert repr(text.rpartition(",")[2]) in str(caught.value)


def test_every_point_can_be_armed() -> None:
    assert set(parse(",".join(f"{point}=full@1" for point in POINTS))) == set(POINTS)
    assert parse("") == {}


def test_nothing_is_armed_in_production() -> None:
    assert VARIABLE not in os.environ
    assert faultpoint("claim") is faultpoint("commit.held")
    assert all(passes("claim") for _ in range(3))


def test_the_fault_is_injected_at_the_named_passage_only(arm: pytest.MonkeyPatch) -> None:
    set_faults(arm, "claim:before=full@2")
    assert [passes("claim") for _ in range(4)] == [True, False, True, True]
    assert [passes("due") for _ in range(3)] == [True, True, True]


def test_the_fault_is_injected_at_each_passage_from_the_named_one(arm: pytest.MonkeyPatch) -> None:
    set_faults(arm, "claim:before=full@2+")
    assert [passes("claim") for _ in range(4)] == [True, False, False, False]


@pytest.mark.parametrize(("side", "reached"), [("before", 0), ("after", 1)])
def test_a_fault_is_injected_before_or_after_the_block(
    arm: pytest.MonkeyPatch, side: str, reached: int
) -> None:
    set_faults(arm, f"claim:{side}=full@1")
    runs = []
    with pytest.raises(OSError, match="No space left") as caught, faultpoint("claim"):
        runs.append(1)
    assert (len(runs), caught.value.errno) == (reached, errno.ENOSPC)


def test_a_block_that_raises_does_not_pass_the_point_after_it(arm: pytest.MonkeyPatch) -> None:
    set_faults(arm, "claim:after=full@1")
    with pytest.raises(ZeroDivisionError), faultpoint("claim"):
        raise ZeroDivisionError
    assert not passes("claim"), "this is the first passage"


PROGRAM = """
from worker.faultpoints import faultpoint
try:
    for number in range(3):
        with faultpoint("claim"):
            print(number, flush=True)
finally:
    print("cleaned up", flush=True)
"""


def run(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, VARIABLE: text},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_killed_process_does_not_clean_up() -> None:
    done = run("claim:after=kill@2")
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "0\n1\n")
    assert done.stderr == "fault point claim:after, passage 2: kill\n"


def test_a_process_does_not_start_with_a_malformed_variable() -> None:
    done = run("claim:after")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"ValueError: {VARIABLE}: 'claim:after' is not a fault point" in done.stderr
