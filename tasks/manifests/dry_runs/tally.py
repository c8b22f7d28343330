"""What a dry run counts of the rows, and observes of their images and prompts."""

from collections import Counter
from typing import Any, Final

from tasks.manifests.checked_rows import AcceptedRow, CheckedRow, RejectedRow
from tasks.manifests.deferred_rows import changed_row
from tasks.manifests.dry_runs.image_looks import ImageLooks
from tasks.manifests.dry_runs.suggestions import LOW_CONTRAST, SMALL_SIDE, Observations, is_vague
from tasks.schema.addresses import private_addresses
from tasks.schema.image_job import DEFAULT_PROMPT, ImageJob
from tasks.schema.prompts.message_text import instructions, stated_lengths
from worker.egress.signed_addresses import expiry
from worker.ledger.model.submissions import SubmitResult
from worker.ledger.model.verdicts import SubmitVerdict
from worker.media.images import ImageLook

PROMPTS: Final = 3
"""How many prompts are shown."""


class Tally:
    """Counts of a dry run. Keys and contents are kept as hashes, which need less memory.

    Args:
        looks: What was found out about the images.
        private_hosts: The private hosts from which workers with the same settings fetch files.
    """

    def __init__(self, looks: ImageLooks, private_hosts: frozenset[str]) -> None:
        self.new_jobs: Counter[str] = Counter()
        self.rows = 0
        self.duplicates = 0
        self.changed_rows: list[dict[str, Any]] = []
        self.rejected: dict[int, str] = {}
        self.known: Counter[str] = Counter()
        self.observations = Observations()
        self._prompts: dict[int, str] = {}
        self._contents: set[int] = set()
        self._contents_of_keys: dict[int, int] = {}
        self._looks = looks
        self._private_hosts = private_hosts

    @property
    def prompts(self) -> list[str]:
        """The prompts of the first rows as they are sent, without the names of attached files."""
        return [text for _, text in sorted(self._prompts.items())]

    def add_page(self, rows: list[CheckedRow], answers: list[SubmitResult]) -> None:
        """Count rows, with the answers for those that can be submitted."""
        found = iter(answers)
        for row in rows:
            if isinstance(row, RejectedRow):
                self.rows += 1
                self._reject(row, row.reason)
            else:
                # A row in several aspects comes several times.
                self.rows += row.variant == 0
                self._add(row, next(found))

    def _add(self, row: AcceptedRow, answer: SubmitResult) -> None:
        content = hash(row.new.content)
        is_conflict = answer.verdict is SubmitVerdict.CONFLICT
        # In a dry run, earlier rows with this key or content are not in the ledger.
        if row.new.key:
            first = self._contents_of_keys.setdefault(hash(row.new.key), content)
            is_conflict = is_conflict or first != content
        if is_conflict:
            self._reject(row, f"key: {row.job.key!r} was used with another payload.")
            return
        is_repeated = content in self._contents
        self._contents.add(content)
        look = self._look(row)
        if isinstance(look, str):
            self._reject(row, look)
            return
        self._keep_prompt(row)
        if answer.verdict is SubmitVerdict.KEPT:
            self.changed_rows.append(changed_row(row, answer))
        elif answer.verdict is SubmitVerdict.DUPLICATE or is_repeated:
            self.duplicates += 1
        else:
            if answer.verdict is SubmitVerdict.REMADE:
                self.changed_rows.append(changed_row(row, answer))
            self.new_jobs[row.job.priority] += 1
            if look is not None:
                self._observe_look(row, look)
            if is_vague(row.job.prompt):
                self.observations.vague.add(row.row.number)
            for end in filter(None, map(expiry, (row.job.image, *row.job.attach))):
                self.observations.add_expiry(row.row.number, end)
                break
            if private_addresses(row.job.fetched, self._private_hosts):
                self.observations.private.add(row.row.number)
            if _states_other_length(row.job):
                self.observations.other_length.add(row.row.number)

    def _keep_prompt(self, row: AcceptedRow) -> None:
        number = row.row.number
        if number in self._prompts:
            return
        self._prompts[number] = instructions(row.job.model_dump(exclude_none=True))
        if len(self._prompts) > PROMPTS:
            del self._prompts[max(self._prompts)]

    def _observe_look(self, row: AcceptedRow, look: ImageLook) -> None:
        if look.contrast < LOW_CONTRAST:
            self.observations.low_contrast.add(row.row.number, row.job.image)
        if look.short_side < SMALL_SIDE:
            self.observations.very_small.add(row.row.number, row.job.image)

    def _look(self, row: AcceptedRow) -> ImageLook | str | None:
        """Return the look of a row's image, or why it cannot be used.

        None if the image is given by its address.
        """
        job = row.job
        if job.media is None:
            self.observations.by_address.add(row.row.number)
            return None
        return self._looks.of(job.media)

    def _reject(self, row: CheckedRow, reason: str) -> None:
        self.rejected.setdefault(row.row.number, reason)


def _states_other_length(job: ImageJob) -> bool:
    if job.seconds is None or job.prompt == DEFAULT_PROMPT:
        return False
    return bool(stated_lengths(job.prompt) - {float(job.seconds)})
