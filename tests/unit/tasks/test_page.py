"""The page: what it shows, how it links, and that nothing on it is taken for markup."""

import io
import json
from html.parser import HTMLParser
from pathlib import Path

from tasks.page import write_page
from tasks.payload import Result
from tests.unit.tasks.conftest import Desk
from worker.ledger.states import Reason, State

ATTACK = """</title></p>"'><script>alert(1)</script><img src=x onerror=alert(1)>$title&amp;"""


class Reader(HTMLParser):
    """Collects elements and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page(results: list[Result], folder: Path | None = None, title: str = "spring") -> Reader:
    sink = io.StringIO()
    write_page(title, results, sink, folder)
    return Reader(sink.getvalue())


def made(desk: Desk, **fields: object) -> Result:
    job_id = desk.submit(**fields)
    clip = {
        "key": "b 1/a#1.mp4",
        "poster": "b 1/a#1.jpg",
        "bytes": 2_500_000,
        "sha256": "00",
        "width": 1080,
        "height": 1920,
        "seconds": 6.0,
        "codec": "h264",
    }
    facts = {"clip": json.dumps(clip), "claim_url": "https://example.org/?ct=clm_secret"}
    desk.end(job_id, State.SUCCEEDED, facts=facts)
    return desk.producer.get(job_id)


def held(desk: Desk, **fields: object) -> Result:
    job_id = desk.submit(**fields)
    desk.end(job_id, State.HELD, reason=Reason.PLAN, message="No <export>.", remedy="Upgrade.")
    return desk.producer.get(job_id)


def test_a_clip_plays_from_disk_next_to_the_page(desk: Desk) -> None:
    found = page([made(desk)], desk.folder / "shown" / "here")
    (video,) = found.all("video")
    assert video["src"] == "../../output/b%201/a%231.mp4"
    assert video["poster"] == "../../output/b%201/a%231.jpg"
    assert video["preload"] == "none"
    assert "controls" in video


def test_without_a_place_of_its_own_the_links_are_whole(desk: Desk) -> None:
    (video,) = page([made(desk)]).all("video")
    assert str(video["src"]).startswith("file:///")


def test_clips_of_a_web_store_are_linked_and_odd_addresses_are_not(desk: Desk) -> None:
    result = made(desk)
    for url, shown in (("https://cdn.example.org/a.mp4", True), ("javascript:alert(1)", False)):
        assert result.video is not None
        video = result.video.model_copy(update={"url": url, "poster": None})
        found = page([result.model_copy(update={"video": video})])
        assert [player["src"] for player in found.all("video")] == [url] * shown


def test_reason_remedy_and_totals_are_shown(desk: Desk) -> None:
    found = page([made(desk), held(desk)])
    assert "No <export>. Upgrade." in found.text
    assert "1 of 2 clips" in found.text
    assert "2.5 MB" in found.text
    assert [card["data-state"] for card in found.all("article")] == ["succeeded", "held"]
    assert [button["value"] for button in found.all("button")] == ["", "held", "succeeded"]


def test_nothing_that_comes_from_outside_is_markup(desk: Desk) -> None:
    kinds = len(page([made(desk), held(desk)]).elements)
    results = [
        make(desk, prompt=ATTACK, image=f"{name}/{ATTACK}", data={"note": ATTACK})
        for make, name in ((made_of_media, "a"), (held_of_media, "b"))
    ]
    found = page(results, title=ATTACK)
    assert len(found.all("script")) == 1
    assert found.all("img") == []
    # One more line a card for its own column; nothing else.
    assert len(found.elements) == kinds + 2
    assert found.text.count(ATTACK) >= 4


def made_of_media(desk: Desk, **fields: object) -> Result:
    return made(desk, media=f"ab/{'ab' * 32}.jpg", **fields)


def held_of_media(desk: Desk, **fields: object) -> Result:
    return held(desk, media=f"ab/{'ab' * 32}.jpg", **fields)


def test_claim_tokens_stay_off_the_page(desk: Desk) -> None:
    sink = io.StringIO()
    write_page("spring", [made(desk)], sink, None)
    assert "clm_" not in sink.getvalue()


def test_an_empty_batch_has_a_page_too() -> None:
    assert "0 of 0 clips" in page([]).text
