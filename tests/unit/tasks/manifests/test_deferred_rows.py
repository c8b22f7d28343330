"""Which job a changed row without a key takes at the end of its manifest."""

from tasks.manifests.deferred_rows import Candidates


def test_each_content_takes_a_job_of_its_image_once() -> None:
    candidates = Candidates([("j1", "a.jpg"), ("j2", "b.jpg"), ("j3", "a.jpg")])
    assert candidates.take("a.jpg", "one") == "j1"
    assert candidates.take("a.jpg", "one") == "j1", "equal rows share a job"
    assert candidates.take("a.jpg", "two") == "j3"
    assert candidates.take("a.jpg", "three") == "", "no other job is left"
    assert candidates.take("c.jpg", "one") == "j1", "one job for a content"
    assert candidates.take("c.jpg", "four") == ""
