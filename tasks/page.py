"""One page that shows what became of jobs: posters, players, reasons. It opens from disk.

All text on it comes from outside and is escaped; links are relative where a clip lies on a local
store. Claim links stay off it: a page is handed around.
"""

import os
from collections import Counter
from collections.abc import Iterable
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Final, TextIO
from urllib.parse import quote, unquote, urlsplit

from tasks.payload import Result, Video
from worker.ledger.states import State

_TEMPLATE: Final = resources.files(__package__) / "templates" / "page.html"


def write_page(title: str, results: Iterable[Result], sink: TextIO, folder: Path | None) -> None:
    """Write the page.

    Args:
        title: What it is called.
        results: The jobs, in the order in which they are shown.
        sink: Where to.
        folder: Where the page will lie: local clips are linked from there; None names them in
            full.
    """
    shown = list(results)
    counts = Counter(result.state for result in shown)
    page = Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(title),
        totals=escape(_totals(shown, counts)),
        buttons="\n".join(_buttons(len(shown), counts)),
        cards="\n".join(_card(result, folder) for result in shown),
    )
    sink.write(page)


def _totals(shown: list[Result], counts: Counter[State]) -> str:
    films = [result.video for result in shown if result.video]
    spent = sum(result.credits_spent for result in shown)
    about = "about " if any(result.credits_estimated for result in shown) else ""
    return " · ".join(
        [
            f"{counts[State.SUCCEEDED]} of {len(shown)} clips",
            f"{sum(film.seconds for film in films):.0f} s of film",
            f"{sum(film.bytes for film in films) / 1e6:.1f} MB",
            f"{about}{spent:g} credits",
        ]
    )


def _buttons(total: int, counts: Counter[State]) -> Iterable[str]:
    yield f'<button type="button" value="" aria-pressed="true">all {total}</button>'
    for state in State:
        if counts[state]:
            yield (
                f'<button type="button" value="{state}" aria-pressed="false">'
                f"{state} {counts[state]}</button>"
            )


def _card(result: Result, folder: Path | None) -> str:
    film = _player(result.video, folder) if result.video else '<div class="none">no clip</div>'
    name = Path(urlsplit(result.image).path if "://" in result.image else result.image).name
    return (
        f'<article data-state="{result.state}" id="{escape(result.job_id)}">\n{film}\n'
        f'<div class="text"><span class="state {result.state}">{result.state}</span>'
        f"<h2>{escape(name or result.image)}</h2>\n"
        f"<p>{escape(result.prompt)}</p>\n{_why(result)}{_facts(result)}</div>\n</article>"
    )


def _player(video: Video, folder: Path | None) -> str:
    source, poster = _link(video.url, folder), _link(video.poster or "", folder)
    if not source:
        return '<div class="none">the clip has no address here</div>'
    still = f' poster="{escape(poster)}"' if poster else ""
    return (
        f'<video controls preload="none" playsinline width="{video.width}" '
        f'height="{video.height}" src="{escape(source)}"{still}></video>'
    )


def _link(url: str, folder: Path | None) -> str:
    """An address for the page: relative for a local file, none for what no browser should open."""
    parts = urlsplit(url)
    if parts.scheme in ("http", "https"):
        return url
    if parts.scheme != "file":
        return ""
    if folder is None:
        return url
    return quote(Path(os.path.relpath(unquote(parts.path), folder)).as_posix())


def _why(result: Result) -> str:
    if result.reason is None:
        return ""
    why = result.reason
    return (
        f'<p class="why {result.state}"><strong>{escape(why.code.value)}</strong> '
        f"<span>{escape(why.message)} {escape(why.remedy)}</span></p>\n"
    )


def _facts(result: Result) -> str:
    facts = []
    if result.video:
        film = result.video
        size = f"{film.width}x{film.height}, {film.seconds:.1f} s, {film.bytes / 1e6:.1f} MB"
        facts.append(f"{size}, {film.codec}")
    elif not result.state.is_end and result.reason is None:
        facts.append(result.progress.message)
    facts.extend(f"{name}: {value}" for name, value in result.data.items())
    facts.extend(filter(None, (result.timeline, result.job_id)))
    return "".join(f'<p class="soft">{escape(fact)}</p>' for fact in facts)
