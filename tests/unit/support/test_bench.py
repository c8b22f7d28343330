"""Measurements are found by their names and explain their options."""

import importlib
import subprocess
import sys

import pytest

from tests.bench.__main__ import benches
from tests.support.options import parse_options
from tests.support.processes import ROOT


def test_every_measurement_has_a_first_line() -> None:
    found = benches()
    assert {"polls", "submit", "catalog", "fairness"} <= set(found)
    assert all(found.values())


@pytest.mark.parametrize("name", benches())
def test_every_option_is_explained_with_its_default(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = importlib.import_module(f"tests.bench.{name}")
    with pytest.raises(SystemExit, match="0"):
        parse_options(name, bench.__doc__, bench.OPTIONS, ["--help"])
    help_text = " ".join(capsys.readouterr().out.split())
    assert help_text.count("(default: ") == len(bench.OPTIONS)
    defaults = {option: default for option, (default, _) in bench.OPTIONS.items()}
    assert vars(parse_options(name, bench.__doc__, bench.OPTIONS, [])) == defaults


def test_an_unknown_name_is_answered_with_the_list() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "nope"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=150,
    )  # fmt: skip
    assert done.returncode == 1
    assert "WHAT=catalog" in done.stdout
    assert '"nope"' in done.stderr
