"""Measurements are found by their names and explain their options."""

import importlib
import subprocess
import sys

import pytest

from tests.bench.__main__ import benches, parse
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
        parse(bench, ["--help"])
    options = getattr(bench, "OPTIONS", {})
    assert capsys.readouterr().out.count("(default:") == len(options)
    defaults = {name: default for name, (default, _) in options.items()}
    assert vars(parse(bench, [])) == defaults


def test_an_unknown_name_is_answered_with_the_list() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "nope"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "WHAT=catalog" in done.stdout
    assert '"nope"' in done.stderr
