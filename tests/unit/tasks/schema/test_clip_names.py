"""Names of clips: what people can use, what every file system takes, and never another job's."""

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import ValidationError

from config.settings import StorageSettings
from tasks.schema.clip_names import candidates, clip_name, fields_of, fill, folder_of, image_name
from tests.unit.tasks.conftest import ProducerHarness
from worker.ledger.clip_names import folded, reserve_name
from worker.ledger.model.jobs import Job
from worker.runtime.runtime import Runtime

FIELDS = {"row": "7", "image": "Blue mug", "key": "", "job_id": "0f-1", "batch": "spring sale"}


@pytest.mark.parametrize(
    ("template", "fields", "name"),
    [
        ("{row}-{image}", {}, "7-Blue-mug"),
        ("{row:04}-{image}", {}, "0007-Blue-mug"),
        ("{row}-{image}", {"row": ""}, "Blue-mug"),
        ("{row:04}_{image}", {"row": ""}, "Blue-mug"),
        ("{batch}_{data.sku}", {"data.sku": "A/1:2"}, "spring-sale_A-1-2"),
        ("{data.sku}", {}, "clip"),
        ("{image}", {"image": "../../etc/passwd"}, "etc-passwd"),
        ("{image}", {"image": "...hidden "}, "hidden"),
        ("{image}", {"image": "Kätzchen, süß"}, "Kätzchen-süß"),
        ("{image}", {"image": "Ka\u0308tzchen"}, "Kätzchen"),
        ("{image}", {"image": "हिन्दी"}, "हिन्दी"),
        ("{image}", {"image": "evil\u202egpj.exe\x00"}, "evil-gpj.exe"),
        ("{image}", {"image": "CON"}, "clip-CON"),
        ("{image}", {"image": "lpt1.old"}, "clip-lpt1.old"),
        ("{image}", {"image": "Console"}, "Console"),
        ("{image}", {"image": "日" * 300}, "日" * 20),
        (
            "{image}{prompt}{batch}",
            dict.fromkeys(("image", "prompt", "batch"), "x" * 90),
            "x" * 120,
        ),
    ],
)
def test_a_template_is_filled(template: str, fields: dict[str, str], name: str) -> None:
    assert fill(template, FIELDS | fields) == name


def test_any_text_makes_a_key_of_every_store(harness: ProducerHarness) -> None:
    seed = random.randrange(10**9)
    chance = random.Random(seed)
    for _ in range(300):
        text = "".join(chr(chance.randrange(1, 0xD7FF)) for _ in range(chance.randrange(80)))
        name = fill("{image}", {"image": text})
        last = list(candidates(name, "x" * 36))[-1]
        harness.producer.output.url(f"{name}/{last}.mp4")
        assert len(f"{last}.mp4".encode()) <= 200, f"seed {seed}: {text!r}"


@pytest.mark.parametrize("template", ["{nosuch}", "{row", "row}", "a/{row}", "a\\b", "", "{data.}"])
def test_a_template_that_makes_no_sense_is_refused(template: str) -> None:
    with pytest.raises(ValidationError, match="clip_name"):
        StorageSettings(clip_name=template)


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("/photos/Blue mug.jpg", "Blue mug.jpg"),
        ("https://example.org/a/Blue%20mug.jpg?size=1", "Blue mug.jpg"),
        ("https://example.org/", "https://example.org/"),
    ],
)
def test_the_name_of_an_image(image: str, name: str) -> None:
    assert image_name(image) == name


def job_of(harness: ProducerHarness, **fields: object) -> Job:
    job = harness.producer.ledger.job(harness.submit(**fields))
    assert job is not None
    return job


def names_of(harness: ProducerHarness, template: str = "{row}-{image}") -> Any:
    """What of a runtime the names need, with another template."""
    producer = harness.producer
    storage = StorageSettings(clip_name=template)
    settings = producer.settings.model_copy(update={"storage": storage})
    runtime = SimpleNamespace(ledger=producer.ledger, output=producer.output, settings=settings)
    return lambda job: clip_name(cast("Runtime", runtime), job)


def test_the_callers_columns_can_be_used(harness: ProducerHarness) -> None:
    job = job_of(harness, data={"sku": 12}, prompt="Pan left", key="k-1")
    fields = fields_of(job, None)
    assert (fields["data.sku"], fields["prompt"], fields["key"], fields["row"]) == (
        *("12", "Pan left"),
        *("k-1", ""),
    )
    assert names_of(harness, "{data.sku}-{prompt}")(job) == "single/12-Pan-left"


def test_two_jobs_never_have_one_name_whatever_the_case(harness: ProducerHarness) -> None:
    name = names_of(harness)
    images = ["Cat.jpg", "cat.png", "CAT.webp", "Straße.jpg", "STRASSE.jpg"]
    jobs = [job_of(harness, image=f"https://example.org/{image}") for image in images]
    found = [name(job) for job in jobs]
    assert found == [
        "single/Cat",
        "single/cat-2",
        "single/CAT-3",
        "single/Straße",
        "single/STRASSE-2",
    ]
    assert [name(job) for job in jobs] == found, "asked again, each has its own"


def test_many_jobs_of_one_name_end_with_their_ids(harness: ProducerHarness) -> None:
    name = names_of(harness, "{image}")
    found = [name(job_of(harness)) for _ in range(12)]
    assert len({folded(one) for one in found}) == 12
    assert found[8] == "single/a-9"
    assert len(found[-1]) == len("single/a-12345678")


def test_a_file_that_is_there_already_is_never_overwritten(
    harness: ProducerHarness, tmp_path: Path
) -> None:
    foreign = tmp_path / "foreign.mp4"
    foreign.write_bytes(b"another namespace's")
    harness.producer.output.put_file(foreign, "single/a.mp4")
    assert names_of(harness)(job_of(harness)) == "single/a-2"


def test_a_name_is_taken_once(harness: ProducerHarness) -> None:
    ledger = harness.producer.ledger
    assert reserve_name(ledger, "f", "Name", "j1")
    assert reserve_name(ledger, "f", "nAME", "j1")
    assert not reserve_name(ledger, "f", "name", "j2")
    assert reserve_name(ledger, "g", "name", "j2")


def test_a_batch_has_a_folder_that_says_whose_it_is(harness: ProducerHarness) -> None:
    ledger = harness.producer.ledger
    ledger.open_batch("1234567890ab", "Spring / Sale!", 1)
    assert folder_of(ledger.batch("1234567890ab")) == "Spring-Sale-12345678"
    ledger.open_batch("abcdefgh-1", "???", 1)
    assert folder_of(ledger.batch("abcdefgh-1")) == "abcdefgh"
    assert folder_of(None) == "single"
