"""What a row asks for: the hash by which it is recognized."""

from typing import Any

import pytest

from tasks.schema.image_job import ImageJob
from worker.ledger.model.row_content import row_content, without_signature

MEDIA = f"ab/{'ab' * 32}.jpg"
PLAIN: dict[str, Any] = {
    "image": "a.jpg",
    "media": MEDIA,
    "prompt": "pan",
    "language": "en",
    "priority": "normal",
    "attach": [],
    "pass_url": False,
}


@pytest.mark.parametrize(
    "other",
    [
        {"image": "moved/b.png"},
        {"media": MEDIA.replace(".jpg", ".jpeg")},
        {"priority": "high"},
        {"webhook": "https://example.org/hook"},
        {"key": "k"},
        {"data": {"sku": "1"}},
        {"attach_names": {MEDIA: "song.mp3"}},
    ],
)
def test_where_the_file_lay_and_other_columns_do_not_count(other: dict[str, Any]) -> None:
    assert row_content({**PLAIN, **other}) == row_content(PLAIN)


def test_contents_stay_what_they_were() -> None:
    """Records of known rows hold them: after a change, the same rows would be paid again."""
    file = {"image": "ü.png", "media": f"ab/{'0' * 64}.png", "prompt": "a slow push-in"}
    rows: list[dict[str, Any]] = [
        {"image": "ü.png"},
        {**file, "aspect": "9:16", "seconds": 5.0, "language": "de", "key": "k"},
        {
            **file,
            "aspect": "9:16",
            "seconds": 5.25,
            "language": "de",
            "attach": ["https://e.org/a.mp3?sig=x"],
        },
        {"image": "a\ud800.png", "prompt": '\x1f\x7f"\\/'},
        {"image": "https://e.org/p.png", "pass_url": True, "seconds": 7.1},
    ]
    expected = [
        "cf2586d21f5a8856",
        "d20081eb973e078c",
        "331759ef20c9efe5",
        "39f6fdc6ba3f490f",
        "e249124e6f56fcd3",
    ]
    assert [row_content(row)[:16] for row in rows] == expected


def test_all_that_is_asked_for_counts() -> None:
    others: list[dict[str, Any]] = [
        {},
        {"media": f"cd/{'cd' * 32}.jpg"},
        {"prompt": "zoom"},
        {"aspect": "1:1"},
        {"seconds": 5.0},
        {"seconds": 6.0},
        {"language": "de"},
        {"attach": [MEDIA]},
        {"attach": [MEDIA, "https://example.org/song.mp3"]},
        {"media": None, "image": "https://example.org/a.jpg"},
        {"media": None, "image": "https://example.org/a.jpg", "pass_url": True},
    ]
    assert len({row_content({**PLAIN, **other}) for other in others}) == len(others)


def test_defaults_do_not_count() -> None:
    """A record of an older version lacks fields, and a later version may add some."""
    short = {"image": "https://example.org/a.jpg", "prompt": "pan"}
    job = ImageJob.read({**short, "seconds": 5})
    assert row_content(job.model_dump(mode="json", exclude_none=True)) == row_content(
        {**short, "seconds": 5}
    )


@pytest.mark.parametrize(
    ("address", "plain"),
    [
        ("https://s.org/a.jpg", "https://s.org/a.jpg"),
        ("https://s.org/a.jpg#top", "https://s.org/a.jpg"),
        ("https://s.org/a.jpg?X-Amz-Signature=1&x-amz-date=2", "https://s.org/a.jpg"),
        ("https://s.org/a.jpg?w=2&X-Goog-Signature=1&h=3", "https://s.org/a.jpg?w=2&h=3"),
        ("https://s.org/a.jpg?sv=1&sp=r&se=2&sig=abc", "https://s.org/a.jpg"),
        (
            "https://s.org/a.jpg?Expires=1&Signature=a&Key-Pair-Id=k&Policy=p&v=7",
            "https://s.org/a.jpg?v=7",
        ),
        ("https://s.org/a.jpg?signature_of=me", "https://s.org/a.jpg?signature_of=me"),
        ("https://[broken/a.jpg?sig=1", "https://[broken/a.jpg?sig=1"),
    ],
)
def test_an_address_is_read_without_its_signature(address: str, plain: str) -> None:
    assert without_signature(address) == plain


@pytest.mark.parametrize("address", ["s3://b/a#1.jpg?x=1", "s3://b/a?sig=1.jpg", "a#1.jpg"])
def test_a_path_that_is_no_web_address_has_no_signature(address: str) -> None:
    assert without_signature(address) == address
