"""Takeovers are read from job records and sorted by whether Redis was reachable."""

from tests.faults.takeovers import Outage, Takeover, median_and_p99, outside_outages, takeovers


def test_takeovers_are_read_from_the_records() -> None:
    jobs = [{"state": "held", "late:2": "1500 0 10000"}, {"late:3": "2000 2000 12000"}, {}]
    assert list(takeovers(jobs)) == [Takeover(10, 1.5, 0), Takeover(12, 2, 2)]


def test_takeovers_that_overlap_an_outage_are_left_out() -> None:
    before, within, after = Takeover(9, 1, 1), Takeover(13, 2, 2), Takeover(20, 3, 3)
    spanning = Takeover(30, 25, 25)
    outage = Outage(10, 16)
    assert outside_outages([before, within, after, spanning], [outage]) == [before, after]


def test_the_99th_percentile_is_one_of_the_values() -> None:
    assert median_and_p99(range(1, 201)) == "100.50 s, 199.00 s"
    assert median_and_p99([1]) == "none"
