"""Links to clips in an object store, which open without an account until they expire.

They are made when results are read, and are neither stored nor logged.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from tasks.producer.producer import Producer
from tasks.schema.result import LinkedVideo, Result, Video
from worker.ledger.pages import pages
from worker.storage.errors import StoreError
from worker.storage.link_lifetime import link_lifetime
from worker.storage.store import Store

LINK_COLUMNS: Final = ("link", "poster_link", "link_expires_at")
"""The columns that a table of results with links has for them."""


@dataclass(slots=True)
class SignedLinks:
    """Adds links to results.

    Attributes:
        output: The store of the clips.
        seconds: How long a link is valid.
        note: A message for people if links expire earlier than configured, or could not be made.
    """

    output: Store
    seconds: float
    note: str = ""

    @classmethod
    def of(cls, producer: Producer) -> "SignedLinks":
        """Return the links of a producer's output store, valid as long as the settings say."""
        links = cls(producer.output, producer.settings.storage.link_seconds)
        lifetime = link_lifetime(links.output.address)
        if lifetime is not None and lifetime < links.seconds:
            links.seconds = max(1.0, lifetime)
            end = datetime.fromtimestamp(time.time() + links.seconds, UTC)
            links.note = (
                f"The links expire at {end:%Y-%m-%d %H:%M} UTC, because they are signed with "
                f"temporary credentials. For a longer time, use the access key of a user."
            )
        return links

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that links add to a table."""
        return LINK_COLUMNS if self.output.has_links else ()

    def add_to(self, results: Iterable[Result]) -> Iterator[Result]:
        """Yield the results, with links to the clip and the poster of each."""
        if not self.output.has_links:
            yield from results
            return
        for page in pages(results):
            links, end = self._sign([result.video for result in page if result.video])
            for result in page:
                if result.video is None or result.video.url not in links:
                    yield result
                    continue
                video = LinkedVideo(
                    **result.video.model_dump(),
                    link=links[result.video.url],
                    poster_link=links.get(result.video.poster or ""),
                    link_expires_at=end,
                )
                yield result.model_copy(update={"video": video})

    def _sign(self, videos: Iterable[Video]) -> tuple[dict[str, str], datetime]:
        addresses = [name for video in videos for name in (video.url, video.poster) if name]
        end = datetime.now(UTC) + timedelta(seconds=self.seconds)
        try:
            return self.output.sign(addresses, self.seconds), end
        except StoreError as error:
            self.note = f"There are no links to the clips. {error.message} {error.remedy}"
            return {}, end
