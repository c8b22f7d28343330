"""The names of jobs and batches: ids, the beginnings of ids, and names of batches."""

import unicodedata

import pytest

from tasks.manifests.batch_submission import submit_batch
from tasks.producer.names import Named, find, find_batch, find_job
from tasks.producer.producer import Producer
from tasks.schema.errors import AmbiguousId, UnknownId
from tests.unit.tasks.conftest import ProducerHarness

ROW = {"image": "https://example.org/a.jpg"}


def make_job(producer: Producer, job_id: str) -> None:
    """Write the record of a job under an id, as far as it is read here."""
    ledger = producer.ledger
    ledger.redis.hset(ledger.key("job", job_id), mapping={"id": job_id, "state": "queued"})
    ledger.redis.zadd(ledger.key("jobs"), {job_id: 1})


def test_an_id_its_beginning_and_the_name_of_a_batch(harness: ProducerHarness) -> None:
    producer, job_id = harness.producer, harness.submit()
    batch_id = submit_batch(producer, [ROW], name="spring.csv").batch_id
    job, batch = Named(job_id, is_batch=False), Named(batch_id, is_batch=True)
    for text in (job_id, job_id[:8], job_id[:20].upper()):
        assert find(producer, text) == job
    for text in (batch_id, batch_id[:8], "spring.csv"):
        assert find(producer, text) == batch
        assert find_batch(producer, text) == batch_id
    assert find_job(producer, job_id[:9]) == job_id


def test_a_name_in_another_unicode_form(harness: ProducerHarness) -> None:
    name = unicodedata.normalize("NFD", "Frühling")
    batch_id = submit_batch(harness.producer, [ROW], name=name).batch_id
    assert find_batch(harness.producer, unicodedata.normalize("NFC", name)) == batch_id


@pytest.mark.parametrize("text", ["", "nope", "*", "????????", "\x00", "\udcff", "a" * 5000, "b4"])
def test_a_text_that_names_nothing_is_an_error(harness: ProducerHarness, text: str) -> None:
    harness.submit()
    with pytest.raises(UnknownId):
        find(harness.producer, text)


def test_a_beginning_that_is_too_short_says_how_many_characters_are_needed(
    harness: ProducerHarness,
) -> None:
    job_id = harness.submit()
    with pytest.raises(UnknownId, match="at least 8 characters"):
        find(harness.producer, job_id[:7])


def test_the_beginning_of_several_ids_is_ambiguous(harness: ProducerHarness) -> None:
    for digit in range(6):
        make_job(harness.producer, f"deadbeef-{digit}111-5111-8111-111111111111")
    with pytest.raises(AmbiguousId, match=r"job deadbeef-.*, …. Give the whole id"):
        find(harness.producer, "deadbeef")
    assert find(harness.producer, "deadbeef-3").id.startswith("deadbeef-3111")


def test_a_name_that_is_also_the_beginning_of_an_id_is_ambiguous(harness: ProducerHarness) -> None:
    producer = harness.producer
    job_id = "deadbeef-1111-5111-8111-111111111111"
    make_job(producer, job_id)
    batch_id = submit_batch(producer, [ROW], name="deadbeef").batch_id
    with pytest.raises(AmbiguousId, match=f"batch {batch_id}, job {job_id}"):
        find(producer, "deadbeef")
    assert find_batch(producer, "deadbeef") == batch_id, "only a batch can be meant"
    assert find_job(producer, "deadbeef") == job_id


def test_a_job_where_a_batch_is_needed_and_the_other_way_round(harness: ProducerHarness) -> None:
    producer = harness.producer
    batch_id = harness.submit_batch(1)
    (row,) = next(producer.ledger.row_states(batch_id))
    with pytest.raises(UnknownId, match=f"is a job, not a batch. It belongs to batch {batch_id}"):
        find_batch(producer, row.job_id)
    with pytest.raises(UnknownId, match="is a batch: name one of its jobs"):
        find_job(producer, batch_id[:8])
