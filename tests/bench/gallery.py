"""What a page of thousands of jobs costs a browser: ``python -m tests.bench.gallery``.

Prints the page's bytes and the times to its first cards and to the cards of a filter and of a
search, as the browser measures them, for a small page and a large one, and their ratio. With
``--shots FOLDER`` it also writes pictures of the page.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tasks.reports.gallery import write_page
from tests.support.chromium import Tab, chromium
from tests.support.results import result

TIMES = 5
LAST = "performance.getEntriesByName('{}').at(-1).duration"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, nargs=2, default=(100, 5000))
    parser.add_argument("--shots", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reelqueue-bench-") as name:
        folder = Path(name)
        with chromium(folder / "profile") as tab:
            found = [list(measure(tab, folder, jobs)) for jobs in asked.jobs]
            if asked.shots:
                shoot(tab, (folder / "page.html").as_uri(), asked.shots)
    table = Table("what", *(f"{jobs} jobs" for jobs in asked.jobs), "ratio")
    for (what, small), (_, large) in zip(*found, strict=True):
        table.add_row(what, f"{small:,.1f}", f"{large:,.1f}", f"{large / small:.1f}")
    Console(width=80).print(table)


def measure(tab: Tab, folder: Path, jobs: int) -> Iterator[tuple[str, float]]:
    """The figures of one page; times are medians, in milliseconds."""
    path = folder / "page.html"
    with path.open("w", encoding="utf-8") as sink:
        write_page("bench", map(result, range(jobs)), sink, folder)
    yield "page, KB", path.stat().st_size / 1000
    first, held, one = [], [], []
    for _ in range(TIMES):
        tab.open(path.as_uri())
        first.append(tab.ask(LAST.format("first render")))
        tab.ask("document.querySelector('button[data-state=held]').click()")
        held.append(tab.ask(LAST.format("filter")))
        tab.ask("change({state: '', q: 'product 17'})")
        one.append(tab.ask(LAST.format("filter")))
    yield "to the first cards, ms", statistics.median(first)
    yield "to filter by state, ms", statistics.median(held)
    yield "to search, ms", statistics.median(one)


def shoot(tab: Tab, url: str, folder: Path) -> None:
    """Pictures at the widths of a desk and a phone, light and dark."""
    folder.mkdir(parents=True, exist_ok=True)
    for width, scheme in ((1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")):
        tab.resize(width, 900)
        tab.prefer(color_scheme=scheme, reduced_motion="reduce")
        tab.open(url)
        tab.screenshot(folder / f"{width}-{scheme}.png")


if __name__ == "__main__":
    main()
