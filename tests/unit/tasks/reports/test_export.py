"""The table of results."""

import csv
import io
from collections.abc import Sequence
from typing import TextIO

import pytest

from tasks.reports.export import COLUMNS, write_csv
from tasks.schema.result import Result
from tests.support.samples.results import result, video


def write(results: Sequence[Result], sink: TextIO) -> None:
    write_csv((name for result in results for name in result.data), results, sink)


def table(*results: Result) -> list[dict[str, str]]:
    sink = io.StringIO()
    write(results, sink)
    return list(csv.DictReader(io.StringIO(sink.getvalue().removeprefix("\ufeff"))))


def test_the_quality_of_clips_is_in_the_table() -> None:
    flawed, good, held = table(result(0), result(1), result(7))
    assert (flawed["quality"], flawed["findings"]) == (
        *("frozen", "The clip shows a single still picture."),
    )
    assert (good["quality"], good["findings"]) == ("ok", "")
    assert (held["quality"], held["reason"]) == ("", "plan")
    assert (good["row"], good["credits_spent"], good["credits_estimated"]) == ("2", "100.0", "True")


def test_a_clip_without_a_quality_check_has_no_quality() -> None:
    (old,) = table(result(1, video=video(1, quality=None)))
    assert (old["quality"], old["findings"], old["codec"]) == ("", "", "h264")


def test_changes_of_the_image_are_in_the_table() -> None:
    changes = ("converted from TIFF to JPEG", "scaled down from 9000 by 9 to 8192 by 8 pixels")
    done, untouched = table(result(1, changes=changes), result(2))
    assert (done["changes"], untouched["changes"]) == ("; ".join(changes), "")


def test_columns_of_the_caller_follow_and_hold_no_formulas() -> None:
    sink = io.StringIO()
    write([result(1, data={"sku": "=1+1"}), result(2, data={"name": "mug"})], sink)
    header, first, _ = sink.getvalue().splitlines()
    assert header.removeprefix("\ufeff").split(",") == [*COLUMNS, "sku", "name"]
    assert "'=1+1" in first, "no spreadsheet takes it for a formula"


@pytest.mark.parametrize(
    "formula",
    [
        *("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", " \r\n @x", "\n"),
        *("\u3000=1", "\u200b=1", "\ufeff=1", "＝1+1", "＋1", "－1", "＠x", "\x00=1"),  # noqa: RUF001
    ],
)
def test_no_cell_starts_a_formula(formula: str) -> None:
    """Neither the columns of a manifest, nor what is in them, nor what the service writes."""
    sink = io.StringIO()
    write([result(1, prompt=formula, reply=formula, data={formula: formula})], sink)
    header, row = csv.reader(io.StringIO(sink.getvalue().removeprefix("\ufeff"), newline=""))
    assert header[-1] == f"'{formula}"
    cells = dict(zip(header, row, strict=True))
    assert {cells["prompt"], cells["reply"], row[-1]} == {f"'{formula}"}


@pytest.mark.parametrize("text", ["a=b", "1-2", "", " slow zoom", "'=1", "日本", "a\n=1"])
def test_a_cell_that_is_no_formula_stays_as_it_is(text: str) -> None:
    (cells,) = table(result(1, prompt=text))
    assert cells["prompt"] == text


def test_the_table_starts_with_a_byte_order_mark_for_excel() -> None:
    sink = io.StringIO()
    write([result(1)], sink)
    assert sink.getvalue().startswith(f"\ufeff{COLUMNS[0]}")


def test_the_table_has_no_claim_tokens() -> None:
    remedy = "Look at the project (https://e.org/claim?ct=clm_secret), then choose."
    (held,) = table(result(7, reason={"code": "plan", "message": "m", "remedy": remedy}))
    assert held["remedy"].startswith("Look at the project")
    assert "clm_" not in str(held)
