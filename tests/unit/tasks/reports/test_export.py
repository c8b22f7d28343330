"""The table: what a person and a spreadsheet read of each job."""

import csv
import io

from tasks.reports.export import COLUMNS, write_csv
from tasks.schema.result import Result
from tests.support.samples.results import result, video


def table(*results: Result) -> list[dict[str, str]]:
    sink = io.StringIO()
    write_csv(lambda: results, sink)
    return list(csv.DictReader(io.StringIO(sink.getvalue())))


def test_a_clip_is_judged_in_the_table() -> None:
    marked, good, held = table(result(0), result(1), result(7))
    assert (marked["quality"], marked["findings"]) == (
        *("frozen", "The clip shows a single still picture."),
    )
    assert (good["quality"], good["findings"]) == ("ok", "")
    assert (held["quality"], held["reason"]) == ("", "plan")
    assert (good["row"], good["credits_spent"], good["credits_estimated"]) == ("2", "100.0", "True")


def test_a_clip_from_before_there_was_a_look_is_not_judged() -> None:
    (old,) = table(result(1, video=video(1, quality=None)))
    assert (old["quality"], old["findings"], old["codec"]) == ("", "", "h264")


def test_what_was_done_to_a_picture_stands_in_the_table() -> None:
    changes = ("converted from TIFF to JPEG", "scaled down from 9000 by 9 to 8192 by 8 pixels")
    done, untouched = table(result(1, changes=changes), result(2))
    assert (done["changes"], untouched["changes"]) == ("; ".join(changes), "")


def test_the_callers_columns_follow_ours() -> None:
    sink = io.StringIO()
    write_csv(lambda: [result(1, data={"sku": "=1+1"}), result(2, data={"name": "mug"})], sink)
    header, first, _ = sink.getvalue().splitlines()
    assert header.split(",") == [*COLUMNS, "sku", "name"]
    assert "'=1+1" in first, "no spreadsheet takes it for a formula"
