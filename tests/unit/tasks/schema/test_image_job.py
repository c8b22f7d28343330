"""Validation of payloads, and the errors of invalid ones."""

import re
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest

from tasks.schema.addresses import check_webhook_url
from tasks.schema.errors import InvalidPayloadError
from tasks.schema.image_job import DEFAULT_PROMPT, ImageJob, job_id_for
from tasks.schema.media_keys import MEDIA_KEY, media_key

URL = "https://example.org/a.jpg"
KEY = f"ab/{'ab' * 32}.jpg"


def problems(payload: object) -> list[str]:
    with pytest.raises(InvalidPayloadError) as refused:
        ImageJob.read(payload)
    return refused.value.problems


def test_an_image_alone_is_enough() -> None:
    job = ImageJob.read({"image": "photo.jpg"})
    assert (job.prompt, job.language, job.priority) == (DEFAULT_PROMPT, "en", "normal")


def test_all_fields_are_kept() -> None:
    payload: dict[str, Any] = {
        "version": 1,
        "image": URL,
        "prompt": "Pan left",
        "aspect": "9:16",
        "seconds": 4.5,
        "language": "zh-CN",
        "priority": "high",
        "attach": ["music.mp3", KEY],
        "attach_names": {KEY: "logo.png"},
        "pass_url": True,
        "webhook": "https://example.org/hook?x=1",
        "key": "order 7",
        "data": {"sku": "A-1", "n": 3, "gone": None},
    }
    assert ImageJob.read(payload).model_dump(mode="json", exclude={"media"}) == payload


def test_an_error_names_each_invalid_field() -> None:
    found = problems({"image": "", "seconds": 61, "aspect": "4:3", "color": "red", "version": 2})
    assert {problem.split(":")[0] for problem in found} == {
        *("image", "seconds", "aspect", "color", "version"),
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image", "ftp://example.org/a.jpg"),
        ("image", "https://"),
        ("image", "a\x00.jpg"),
        ("media", "../../etc/passwd"),
        ("media", KEY.replace("ab/", "ab/../")),
        ("prompt", "   "),
        ("key", ""),
        ("key", "k" * 201),
        ("seconds", float("nan")),
        ("priority", "urgent"),
        ("data", {"": 1}),
    ],
)
def test_invalid_values_are_refused(field: str, value: object) -> None:
    found = problems({"image": URL, field: value})
    assert [problem.split(":")[0].split(".")[0] for problem in found] == [field]


def test_pass_url_needs_an_address() -> None:
    assert problems({"image": "a.jpg", "pass_url": True})[0].startswith("pass_url: ")
    assert problems({"image": URL, "media": KEY, "pass_url": True})[0].startswith("pass_url: ")


@pytest.mark.parametrize("payload", [None, 7, "photo.jpg", ["photo.jpg"]])
def test_a_payload_that_is_not_an_object_is_refused(payload: object) -> None:
    assert problems(payload)


def test_an_error_does_not_repeat_the_value() -> None:
    secret = "nmv_usr_" + "x" * 20
    assert secret not in " ".join(problems({"image": URL, "seconds": secret, "key": [secret]}))


def test_the_key_determines_the_job_id() -> None:
    assert job_id_for("k") == str(uuid5(NAMESPACE_URL, "reelqueue:job:k"))
    assert job_id_for(None) != job_id_for(None)


def test_the_fingerprint_covers_all_but_the_key() -> None:
    one = ImageJob.read({"image": URL, "key": "a"})
    same = ImageJob.read({"key": "b", "prompt": DEFAULT_PROMPT, "image": URL})
    other = ImageJob.read({"image": URL, "key": "a", "seconds": 5})
    assert one.fingerprint == same.fingerprint
    assert one.fingerprint != other.fingerprint


def test_media_keys_have_the_same_form_for_any_file_name() -> None:
    sha = "0f" * 32
    for name in ("a.JPG", "a", "a.verylong", "a.tar.gz", "a.ünï", ".jpg"):
        assert re.fullmatch(MEDIA_KEY, media_key(sha, name)), name
    assert media_key(sha, "a.JPG") == f"0f/{sha}.jpg"


@pytest.mark.parametrize(
    "address",
    [
        *("example.org/hook", "ftp://example.org/", "https://", "https:///told", "http://a b/"),
        *("https://user:secret@example.org/", "https://example.org:99999/", "https://e.org/\n"),
    ],
)
def test_an_invalid_webhook_address_is_refused(address: str) -> None:
    (problem,) = problems({"image": URL, "webhook": address})
    assert problem.startswith("webhook: must")
    assert "secret" not in problem
    with pytest.raises(ValueError, match="must"):
        check_webhook_url(address)


def test_the_webhook_is_not_in_the_fingerprint() -> None:
    silent = ImageJob.read({"image": URL})
    notified = ImageJob.read({"image": URL, "webhook": "https://example.org/hook"})
    assert silent.fingerprint == notified.fingerprint
