"""The gallery in a real browser, opened from disk."""

from collections.abc import Iterator

import pytest
from PIL import Image

from tasks.reports.gallery import write_page
from tests.support.chromium import PROGRAM, Tab, chromium
from tests.support.samples.results import result, video
from tests.support.waiting import wait_until
from tests.unit.worker.media.clip_samples import clip

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed"),
]

ATTACK = (
    """"'><script>document.title = "owned"</script><img src=x onerror="document.title='owned'">"""
)
JOBS = 5000
SHOWN = "document.querySelectorAll('article').length"
COUNT = "document.getElementById('count').textContent"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A browser tab for all tests of this module."""
    with chromium(tmp_path_factory.mktemp("chromium") / "profile") as tab:
        tab.call("Page.enable")
        yield tab


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a page with thousands of jobs; job 1 has a clip, job 2 has hostile texts."""
    folder = tmp_path_factory.mktemp("gallery")
    (folder / "clips").mkdir()
    film = clip(folder / "clips" / "1 a.mp4", frames=50)
    Image.new("RGB", (320, 180), (40, 90, 40)).save(film.with_suffix(".jpg"))
    shown = video(1, url=film.as_uri(), poster=film.with_suffix(".jpg").as_uri(), seconds=2)
    results = [result(n) for n in range(JOBS)]
    results[1] = result(1, video=shown)
    results[2] = result(2, prompt=ATTACK, image=f"{ATTACK}.jpg", data={ATTACK: ATTACK})
    with (folder / "page.html").open("w", encoding="utf-8") as sink:
        write_page("spring", results, sink, folder)
    return (folder / "page.html").as_uri()


def test_a_page_of_thousands_of_jobs_adds_cards_while_scrolling(tab: Tab, page: str) -> None:
    tab.open(page)
    assert tab.evaluate(COUNT) == "5,000 jobs"
    assert "3,500 of 5,000 jobs succeeded" in tab.evaluate(
        "document.getElementById('totals').textContent"
    )
    first = tab.evaluate(SHOWN)
    assert 0 < first < JOBS / 10
    tab.evaluate("scrollTo(0, document.body.scrollHeight)")
    wait_until(lambda: tab.evaluate(SHOWN) > first, "more cards")


def test_filters_and_search_select_jobs(tab: Tab, page: str) -> None:
    tab.open(page)
    tab.evaluate("document.querySelector('button[data-state=held]').click()")
    assert tab.evaluate(COUNT) == "500 of 5,000 jobs"
    states = "[...new Set([...document.querySelectorAll('article')].map(c => c.dataset.state))]"
    assert tab.evaluate(states) == ["held"]
    tab.press("/", "/")
    tab.type("PRODUCT-00017 a-17")
    assert tab.evaluate(COUNT) == "1 of 5,000 jobs"
    assert tab.evaluate("document.querySelector('article h2').textContent") == "product-00017.jpg"
    assert "reelqueue release 17" in tab.evaluate(
        "document.querySelector('article code').textContent"
    )
    assert tab.evaluate("location.hash") == "#state=held&q=PRODUCT-00017+a-17"
    tab.press("Escape")
    assert tab.evaluate(COUNT) == "500 of 5,000 jobs"


@pytest.mark.parametrize(
    ("fragment", "count"),
    [
        ("#reason=bad_image", "500 of 5,000 jobs"),
        ("#marked=1", "250 of 5,000 jobs"),
        ("#q=00000000-0000-4000-8000-000000004242", "1 of 5,000 jobs"),
        ("#state=succeeded&reason=plan", "0 of 5,000 jobs"),
    ],
)
def test_a_view_can_be_shared_as_a_url(tab: Tab, page: str, fragment: str, count: str) -> None:
    tab.open(page + fragment)
    assert tab.evaluate(COUNT) == count
    assert tab.evaluate("document.getElementById('none').hidden") == (count[0] != "0")


def test_a_click_on_the_poster_plays_the_clip_in_its_place(tab: Tab, page: str) -> None:
    tab.open(f"{page}#q=product-00001.jpg")
    poster = "document.querySelector('.screen img')"
    wait_until(lambda: tab.evaluate(f"{poster}.naturalWidth") == 320, "the poster")
    assert tab.evaluate("document.querySelectorAll('video').length") == 0
    tab.evaluate("document.querySelector('button.screen').focus()")
    tab.press("Enter", "\r")
    wait_until(lambda: tab.evaluate("document.querySelector('video')?.currentTime > 0"), "the film")
    assert tab.evaluate("document.querySelector('video').videoWidth") == 320
    assert tab.evaluate("document.activeElement.tagName") == "VIDEO"


def test_texts_from_outside_are_shown_and_not_executed(tab: Tab, page: str) -> None:
    tab.open(f"{page}#q=onerror")
    assert tab.evaluate("document.querySelector('article p').textContent") == ATTACK
    assert tab.evaluate("document.title") == "spring"
    assert tab.evaluate("document.querySelectorAll('article img, article script').length") == 0


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_the_screen(tab: Tab, page: str, width: int) -> None:
    tab.resize(width, 800)
    tab.open(page)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_every_control_has_a_name(tab: Tab, page: str) -> None:
    tab.resize(1280, 800)
    tab.open(page)
    tab.call("Accessibility.enable")
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    controls = [
        node
        for node in nodes
        if node["role"]["value"] in ("button", "searchbox", "combobox", "link")
    ]
    assert len(controls) > 15
    assert [node for node in controls if not node["name"]["value"].strip()] == []
