"""What a page of thousands of jobs costs a browser.

Prints the size of the page and the times to its first cards and to the cards of a filter and of a
search, as the browser measures them, for a small and a large page, and their ratio.
"""

import statistics
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from tasks.reports.gallery import write_page
from tests.support.chromium import Tab, chromium
from tests.support.samples.results import result

OPTIONS = {
    "small": (100, "jobs on the small page"),
    "large": (5000, "jobs on the large page"),
    "shots": (None, "a folder to write screenshots of the large page to (default: none)"),
}
REPEATS = 5
LAST_DURATION = "performance.getEntriesByName('{}').at(-1).duration"


def run(options: Namespace, folder: Path) -> Iterator[Table]:
    """Measure, and yield what is printed."""
    with chromium(folder / "profile") as tab:
        found = [list(measure(tab, folder, jobs)) for jobs in (options.small, options.large)]
        if options.shots:
            take_screenshots(tab, (folder / "page.html").as_uri(), options.shots)
    table = Table("what", f"{options.small} jobs", f"{options.large} jobs", "ratio")
    for (what, small), (_, large) in zip(*found, strict=True):
        table.add_row(what, f"{small:,.1f}", f"{large:,.1f}", f"{large / small:.1f}")
    yield table


def measure(tab: Tab, folder: Path, jobs: int) -> Iterator[tuple[str, float]]:
    """Measure one page; times are medians in milliseconds."""
    path = folder / "page.html"
    with path.open("w", encoding="utf-8") as sink:
        write_page("bench", map(result, range(jobs)), sink, folder)
    yield "page, KB", path.stat().st_size / 1000
    first, held, one = [], [], []
    for _ in range(REPEATS):
        tab.open(path.as_uri())
        first.append(tab.evaluate(LAST_DURATION.format("first render")))
        tab.evaluate("document.querySelector('button[data-state=held]').click()")
        held.append(tab.evaluate(LAST_DURATION.format("filter")))
        tab.evaluate("change({state: '', q: 'product 17'})")
        one.append(tab.evaluate(LAST_DURATION.format("filter")))
    yield "to the first cards, ms", statistics.median(first)
    yield "to filter by state, ms", statistics.median(held)
    yield "to search, ms", statistics.median(one)


def take_screenshots(tab: Tab, url: str, folder: Path) -> None:
    """Take screenshots at the widths of a desktop and a phone, in light and dark colors."""
    folder.mkdir(parents=True, exist_ok=True)
    for width, scheme in ((1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")):
        tab.resize(width, 900)
        tab.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        tab.open(url)
        tab.screenshot(folder / f"{width}-{scheme}.png")
