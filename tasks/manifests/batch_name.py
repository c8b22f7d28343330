"""The name of a batch that a manifest gets from its file or folder."""

from shlex import quote

from tasks.manifests.checked_rows import accepted, check_rows
from tasks.manifests.manifest import Manifest
from tasks.manifests.rows import Row
from tasks.producer.local_files import LocalFiles
from tasks.producer.producer import Producer
from tasks.schema.batch import batch_id_for
from tasks.schema.errors import BatchNameTaken
from worker.ledger.rows import Rows, RowSubmission


def check_batch_name(
    producer: Producer, manifest: Manifest, first_page: list[Row], files: LocalFiles
) -> None:
    """Check that a batch with the manifest's name, if there is one, was made from this manifest.

    Manifests in different folders may have the same name.

    Raises:
        BatchNameTaken: The batch has another source and none of these rows.
    """
    batch_id = batch_id_for(manifest.name)
    with producer.redis_errors():
        batch = producer.ledger.batch(batch_id)
        if batch is None or not batch.source or batch.source == manifest.source:
            return
        rows = Rows(producer.ledger)
        rows.upgrade(batch_id)
        checked = check_rows(first_page, batch_id, files, manifest.aspects)
        found = rows.submit_pages(
            [[row.new for row in accepted(checked)]],
            RowSubmission(batch_id, "", dry=True),
        )
        if any(answer.job_id for answers in found for answer in answers):
            return
    raise BatchNameTaken(
        f'There is already a batch "{batch.name}" of another manifest ({batch.source}), which has '
        f"none of these rows. Give this batch another name with --name, or add these rows to that "
        f"batch with --name {quote(batch.name)}."
    )
