"""The page as a file: its data, its links, and that texts are not read as markup.

It is tested in a browser in ``tests/integration/test_gallery.py``.
"""

import io
import json
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tasks.reports.gallery import write_page
from tasks.schema.result import Result
from tests.support.samples.results import result, video

ATTACK = """</title></p>"'><script>alert(1)</script><img src=x onerror=alert(1)>$title&amp;<!--"""


class Reader(HTMLParser):
    """Collects elements, text and the jobs."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.source = page
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._data = ""
        self._in_jobs = False
        self.feed(page)
        self.jobs: list[dict[str, Any]] = json.loads(self._data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in_jobs = ("id", "jobs") in attrs

    def handle_data(self, data: str) -> None:
        if self._in_jobs:
            self._data += data
        else:
            self.text += data


def page(results: Iterable[Result], folder: Path | None = None, title: str = "spring") -> Reader:
    sink = io.StringIO()
    write_page(title, results, sink, folder)
    return Reader(sink.getvalue())


def links(url: str, folder: Path | None) -> tuple[str | None, str | None]:
    """Return the links to clip and poster."""
    shown = video(1, url=f"{url}.mp4", poster=f"{url}.jpg")
    (job,) = page([result(1, video=shown)], folder).jobs
    return job["clip"].get("src"), job["clip"].get("poster")


@pytest.mark.parametrize(
    ("folder", "link"),
    [
        ("/data", "out/b%201/a%231"),
        ("/data/out/b 1", "a%231"),
        ("/data/pages/june", "../../out/b%201/a%231"),
        ("/data/pages/june/1", "file:///data/out/b%201/a%231"),
        (None, "file:///data/out/b%201/a%231"),
    ],
)
def test_clips_near_the_page_have_relative_links(folder: str | None, link: str) -> None:
    found = links("file:///data/out/b%201/a%231", Path(folder) if folder else None)
    assert found == (f"{link}.mp4", f"{link}.jpg")


def test_only_web_addresses_and_files_are_linked() -> None:
    assert links("https://cdn.example.org/a", Path("/")) == (
        *("https://cdn.example.org/a.mp4", "https://cdn.example.org/a.jpg"),
    )
    for odd in ("javascript:alert(1)//", "s3://bucket/a", "data:text/html,"):
        assert links(odd, Path("/")) == ("", "")
    (job,) = page([result(1, video=video(1, url="s3://bucket/a.mp4"))]).jobs
    assert job["clip"]["address"] == "s3://bucket/a.mp4"


def test_reason_remedy_and_quality_findings_are_in_the_page() -> None:
    done, held, running = page([result(0), result(7), result(9)]).jobs
    assert done["findings"] == ["The clip shows a single still picture."]
    assert held["reason"]["code"] == "plan"
    assert held["reason"]["remedy"].startswith("Upgrade it, then run `reelqueue release")
    assert running["progress"] == "The clip is being rendered."
    assert "progress" not in held


def test_texts_from_outside_are_never_markup() -> None:
    plain = page([result(7)])
    why = {"code": "plan", "message": ATTACK, "remedy": ATTACK}
    attacked = result(7, prompt=ATTACK, image=ATTACK, data={ATTACK: ATTACK}, reason=why)
    found = page([attacked], title=ATTACK)
    assert [tag for tag, _ in found.elements] == [tag for tag, _ in plain.elements]
    assert found.text.count(ATTACK) == 2, "title and heading"
    (job,) = found.jobs
    assert (job["prompt"], job["image"], job["data"]) == (ATTACK, ATTACK, [[ATTACK, ATTACK]])
    assert "<script>alert" not in found.source


def test_the_policy_allows_only_the_script_of_the_page() -> None:
    found = page([])
    (policy,) = [
        attributes["content"] or ""
        for tag, attributes in found.elements
        if tag == "meta" and "http-equiv" in attributes
    ]
    assert "unsafe" not in policy
    assert "script-src 'sha256-" in policy
    assert "http" not in found.source.replace(policy, "").replace("http-equiv", "")


def test_the_page_has_no_claim_tokens() -> None:
    remedy = "Look at the project (https://e.org/claim?ct=clm_secret), then choose."
    reason = {"code": "outcome_unknown", "message": "m", "remedy": remedy}
    assert "clm_" not in page([result(n) for n in range(10)] + [result(7, reason=reason)]).source


def test_the_page_has_no_signatures_of_addresses() -> None:
    signed = "https://e.org/a.jpg?size=9&X-Amz-Expires=60&X-Amz-Signature=abc"
    (job,) = page([result(1, image=signed)]).jobs
    assert job["image"] == "https://e.org/a.jpg?size=9"


def test_jobs_are_written_one_at_a_time() -> None:
    sink = io.StringIO()
    sizes = []

    def read() -> Iterator[Result]:
        for number in range(20):
            sizes.append(sink.tell())
            yield result(number)

    write_page("spring", read(), sink, None)
    assert sizes == sorted(set(sizes))


def test_an_empty_batch_has_a_page() -> None:
    assert page([]).jobs == []
