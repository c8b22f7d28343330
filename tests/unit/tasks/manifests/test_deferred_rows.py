"""Which job a changed row without a key takes at the end of its manifest."""

from tasks.manifests.checked_rows import AcceptedRow
from tasks.manifests.deferred_rows import Candidates
from tasks.manifests.lines import ManifestLine
from tasks.manifests.rows import Row
from tasks.schema.image_job import Aspect, ImageJob
from worker.ledger.model.submissions import NewJob


def wanted(image: str, content: str, variant: Aspect | None = None) -> AcceptedRow:
    job = ImageJob(image=image)
    made = job.model_copy(update={"aspect": variant})
    return AcceptedRow(Row(ManifestLine(1), job), made, NewJob("id", {}, content, content=content))


def test_each_content_takes_a_job_of_its_image_once() -> None:
    candidates = Candidates([("j1", "a.jpg", ""), ("j2", "b.jpg", ""), ("j3", "a.jpg", "1:1")])
    assert candidates.take(wanted("a.jpg", "one")) == "j1"
    assert candidates.take(wanted("a.jpg", "one")) == "j1", "equal rows share a job"
    assert candidates.take(wanted("a.jpg", "two")) == "j3"
    assert candidates.take(wanted("a.jpg", "three")) == "", "no other job is left"
    assert candidates.take(wanted("c.jpg", "one")) == "j1", "one job for a content"
    assert candidates.take(wanted("c.jpg", "four")) == ""


def test_an_aspect_of_the_batch_takes_no_job_of_another_aspect() -> None:
    jobs = [("plain", "a.jpg", ""), ("wide", "a.jpg", "16:9"), ("square", "a.jpg", "1:1")]
    candidates = Candidates(jobs)
    assert candidates.take(wanted("a.jpg", "one", "1:1")) == "square"
    assert candidates.take(wanted("a.jpg", "two", "9:16")) == ""
    assert candidates.take(wanted("a.jpg", "three", "16:9")) == "wide"
