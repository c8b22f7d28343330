"""Fault points: nothing unless they are armed, and then at the named passage alone."""

import errno
import os
import signal
import subprocess
import sys
from collections import Counter

import pytest

from worker import faultpoints
from worker.faultpoints import POINTS, VARIABLE, around, read


@pytest.fixture
def arm(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No point was passed yet."""
    monkeypatch.setattr(faultpoints, "_passages", Counter())
    return monkeypatch


def set_traps(arm: pytest.MonkeyPatch, text: str) -> None:
    arm.setattr(faultpoints, "_traps", read(text))


def passes(name: str) -> bool:
    """Whether a point, both its sides, is passed without its fault."""
    try:
        with around(name):
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
def test_what_makes_no_sense_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(ValueError, match="no fault point with an action") as caught:
        read(text)
    assert VARIABLE in str(caught.value)
    assert repr(text.rpartition(",")[2]) in str(caught.value)


def test_every_point_can_be_armed() -> None:
    assert set(read(",".join(f"{point}=full@1" for point in POINTS))) == set(POINTS)
    assert read("") == {}


def test_nothing_is_armed_in_production() -> None:
    assert VARIABLE not in os.environ
    assert around("claim") is around("commit.held")
    assert all(passes("claim") for _ in range(3))


def test_the_named_passage_alone_is_hit(arm: pytest.MonkeyPatch) -> None:
    set_traps(arm, "claim:before=full@2")
    assert [passes("claim") for _ in range(4)] == [True, False, True, True]
    assert [passes("due") for _ in range(3)] == [True, True, True]


def test_each_passage_from_the_named_one_on(arm: pytest.MonkeyPatch) -> None:
    set_traps(arm, "claim:before=full@2+")
    assert [passes("claim") for _ in range(4)] == [True, False, False, False]


@pytest.mark.parametrize(("side", "reached"), [("before", 0), ("after", 1)])
def test_before_and_after(arm: pytest.MonkeyPatch, side: str, reached: int) -> None:
    set_traps(arm, f"claim:{side}=full@1")
    runs = []
    with pytest.raises(OSError, match="No space left") as caught, around("claim"):
        runs.append(1)
    assert (len(runs), caught.value.errno) == (reached, errno.ENOSPC)


def test_a_block_that_failed_was_not_passed(arm: pytest.MonkeyPatch) -> None:
    set_traps(arm, "claim:after=full@1")
    with pytest.raises(ZeroDivisionError), around("claim"):
        raise ZeroDivisionError
    assert not passes("claim"), "this is the first passage"


PROGRAM = """
from worker.faultpoints import around
try:
    for number in range(3):
        with around("claim"):
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


def test_a_kill_leaves_no_chance_to_clean_up() -> None:
    done = run("claim:after=kill@2")
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "0\n1\n")
    assert done.stderr == "fault point claim:after, passage 2: kill\n"


def test_a_process_with_a_wrong_variable_does_not_start() -> None:
    done = run("claim:after")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"ValueError: {VARIABLE}: 'claim:after' is no fault point" in done.stderr
