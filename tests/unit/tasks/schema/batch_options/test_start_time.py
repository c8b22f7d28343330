"""Times before which a batch does not start."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tasks.schema.batch_options.start_time import read_start_time
from tasks.schema.errors import InvalidPayloadError


@pytest.fixture(autouse=True)
def _in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "now", "expected"),
    [
        ("22:00", "2026-11-30T12:00", "2026-11-30T21:00"),
        ("9:30", "2026-11-30T12:00", "2026-12-01T08:30"),
        ("13:00", "2026-11-30T12:00", "2026-12-01T12:00"),
        ("00:00", "2026-12-31T22:59", "2026-12-31T23:00"),
        # The night before the clocks are set back, and the one before they are set forward.
        ("12:00", "2026-10-24T11:00", "2026-10-25T11:00"),
        ("12:00", "2026-03-28T12:00", "2026-03-29T10:00"),
        ("2026-12-01T22:00", "2026-11-30T12:00", "2026-12-01T21:00"),
        ("2026-12-01 22:00:30", "2026-11-30T12:00", "2026-12-01T21:00:30"),
        ("2026-12-01", "2026-11-30T12:00", "2026-11-30T23:00"),
        ("2026-12-01T22:00Z", "2026-11-30T12:00", "2026-12-01T22:00"),
        ("2026-12-01T22:00-05:00", "2026-11-30T12:00", "2026-12-02T03:00"),
        (" now ", "2026-11-30T12:00", "2026-11-30T12:00"),
        ("1999-01-01T12:00Z", "2026-11-30T12:00", "1999-01-01T12:00"),
    ],
)
def test_a_time_is_local_unless_it_names_an_offset(text: str, now: str, expected: str) -> None:
    found = read_start_time(text, datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert found == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tonight",
        "25:00",
        "22:60",
        "22",
        "2026-13-01",
        "0001-01-01T00:00+14:00",
        "22:00:00:00",
        "1e9",
    ],
)
def test_another_text_is_refused_with_examples(text: str) -> None:
    with pytest.raises(InvalidPayloadError, match="such as 22:00"):
        read_start_time(text, datetime.now(UTC))
