"""Validation of payloads, and the errors of invalid ones."""

import hashlib
import json
import re
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
        ("data", {"sizes": [1, 2]}),
        ("data", {"size": {"w": 1}}),
        ("data", {"n": float("inf")}),
        ("data", {"name": "\udcff"}),
        ("attach", "music.mp3"),
        ("attach_names", {KEY: 5}),
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
    for key in ("k", "é", *map(str, range(100))):
        assert job_id_for(key) == str(uuid5(NAMESPACE_URL, f"reelqueue:job:{key}"))
    assert job_id_for(None) != job_id_for(None)


def test_the_fingerprint_covers_all_but_the_key() -> None:
    one = ImageJob.read({"image": URL, "key": "a"})
    same = ImageJob.read({"key": "b", "prompt": DEFAULT_PROMPT, "image": URL})
    other = ImageJob.read({"image": URL, "key": "a", "seconds": 5})
    assert one.fingerprint == same.fingerprint
    assert one.fingerprint != other.fingerprint


def test_fingerprints_stay_what_they_were() -> None:
    """Records contain fingerprints: if these changed, a job submitted again would be a conflict."""
    payload = {
        "image": "ü.png", "media": f"ab/{'0' * 64}.png", "prompt": "a slow push-in",
        "aspect": "9:16", "seconds": 5, "language": "de", "priority": "high", "key": "k",
        "webhook": "https://example.org/hook", "data": {"z": 1.5, "a": None, "b": True},
    }  # fmt: skip
    attached = {**payload, "attach": ["https://e.org/a.mp3"], "seconds": 5.25}
    jobs = map(ImageJob.read, ({"image": "ü.png"}, payload, attached))
    expected = ["22aa8bb436e295e0", "429b89f1e6e7cf37", "101ea9be8da85639"]
    assert [job.fingerprint[:16] for job in jobs] == expected


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
COLUMNS = st.dictionaries(
    TEXTS,
    TEXTS | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False, width=32)
    .filter(lambda number: abs(number) != float("inf")),
    max_size=4,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(data=COLUMNS, seconds=st.none() | st.floats(1, 60), key=st.none() | st.just("k"))
def test_the_fingerprint_is_that_of_the_json_with_sorted_names(
    data: dict[str, Any], seconds: float | None, key: str | None
) -> None:
    job = ImageJob.read(
        {"image": "a.png", "data": data, "seconds": seconds, "key": key, "attach": [URL]}
    )
    payload = job.model_dump(mode="json", exclude_none=True)
    assert list(job.as_payload().items()) == list(payload.items())
    asked = {name: payload[name] for name in {"image", "attach", "data", "seconds"} & set(payload)}
    if not data:
        del asked["data"]
    text = json.dumps(asked, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert job.fingerprint == hashlib.sha256(text.encode()).hexdigest()


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


ODD_NAMES = [
    "Screenshot at 9.22.20\u202fPM.png",
    "\u5199\u771f\u30001.png",
    "Sn\u00edmek v\u00a013.05.png",
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645.png",
    "\U0001f468\u200d\U0001f469.png",
    "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f.png",
    "\u05d0\u200f.png",
    "\u200ba.png",
    "logo \uf8ff \U0001fae8.png",
]
"""Spaces and joiners of all scripts, a flag, a mark of direction, a private and a new character."""


@pytest.mark.parametrize("name", ODD_NAMES)
def test_spaces_and_joiners_of_all_scripts_are_accepted(name: str) -> None:
    url = f"https://example.org/{name}"
    job = ImageJob.read({"image": name, "attach": [url], "key": name, "attach_names": {KEY: name}})
    assert (job.image, job.attach, job.key) == (name, (url,), name)
    assert ImageJob.read({"image": url, "webhook": url.replace(" ", "")}).image == url


@pytest.mark.parametrize(
    "sign",
    [
        *("\x00", "\n", "\x1b", "\x7f", "\x85", "\u2028", "\u202e", "\u2066", "\u206a", "\ufff9"),
        *("\U000e0041", "\udc80"),
    ],
)
def test_what_forges_lines_or_reorders_or_hides_text_is_refused(sign: str) -> None:
    name = f"invoice{sign}gnp.exe"
    for field in ("image", "key"):
        assert [problem.split(":")[0] for problem in problems({"image": URL, field: name})] == [
            field
        ]
    assert problems({"image": URL, "attach": [name]})
    assert problems({"image": URL, "webhook": f"{URL}{sign}"})
