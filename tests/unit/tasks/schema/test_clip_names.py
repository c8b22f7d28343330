"""Names of clips: readable, valid in every file system, and unique to a job."""

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from pydantic import ValidationError

from config.settings import StorageSettings
from tasks.schema.clip_names import (
    batch_folder,
    candidate_names,
    clip_names,
    fill_template,
    image_name,
    template_fields,
)
from tests.unit.tasks.conftest import ProducerHarness
from worker.ledger.clip_names import folded, reserve_name
from worker.ledger.model.jobs import Job

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
def test_fields_are_filled_in_and_unsafe_characters_replaced(
    template: str, fields: dict[str, str], name: str
) -> None:
    assert fill_template(template, FIELDS | fields) == name


def test_random_image_names_give_valid_keys(harness: ProducerHarness) -> None:
    seed = random.randrange(10**9)
    chance = random.Random(seed)
    for _ in range(300):
        text = "".join(chr(chance.randrange(1, 0xD7FF)) for _ in range(chance.randrange(80)))
        name = fill_template("{image}", {"image": text})
        last = list(candidate_names(name, "x" * 36))[-1]
        harness.producer.output.url(f"{name}/{last}.mp4")
        assert len(f"{last}.mp4".encode()) <= 200, f"seed {seed}: {text!r}"


@pytest.mark.parametrize("template", ["{nosuch}", "{row", "row}", "a/{row}", "a\\b", "", "{data.}"])
def test_invalid_templates_are_refused(template: str) -> None:
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
def test_image_name_of_paths_and_addresses(image: str, name: str) -> None:
    assert image_name(image) == name


def job_of(harness: ProducerHarness, **fields: object) -> Job:
    job = harness.producer.ledger.job(harness.submit(**fields))
    assert job is not None
    return job


def namer(harness: ProducerHarness, template: str = "{row}-{image}") -> Callable[[Job], str]:
    """Return a function that reserves the first name of a job."""
    producer = harness.producer
    names = partial(clip_names, template=template, ledger=producer.ledger, output=producer.output)
    return lambda job: next(names(job))


def test_templates_may_use_the_callers_columns(harness: ProducerHarness) -> None:
    job = job_of(harness, data={"sku": 12}, prompt="Pan left", key="k-1")
    fields = template_fields(job, None)
    assert (fields["data.sku"], fields["prompt"], fields["key"], fields["row"]) == (
        *("12", "Pan left"),
        *("k-1", ""),
    )
    assert namer(harness, "{data.sku}-{prompt}")(job) == "single/12-Pan-left"


def test_names_that_differ_only_in_case_get_numbers(harness: ProducerHarness) -> None:
    name = namer(harness)
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
    assert [name(job) for job in jobs] == found, "repeated, each job keeps its name"


def test_after_the_numbers_names_end_with_the_jobs_id(harness: ProducerHarness) -> None:
    name = namer(harness, "{image}")
    found = [name(job_of(harness)) for _ in range(12)]
    assert len({folded(one) for one in found}) == 12
    assert found[8] == "single/a-9"
    assert len(found[-1]) == len("single/a-12345678")


def test_the_name_of_an_existing_file_is_not_used(harness: ProducerHarness, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.mp4"
    foreign.write_bytes(b"another namespace's")
    harness.producer.output.put_file(foreign, "single/a.mp4")
    assert namer(harness)(job_of(harness)) == "single/a-2"


def test_a_name_is_reserved_for_one_job(harness: ProducerHarness) -> None:
    ledger = harness.producer.ledger
    assert reserve_name(ledger, "f", "Name", "j1")
    assert reserve_name(ledger, "f", "nAME", "j1")
    assert not reserve_name(ledger, "f", "name", "j2")
    assert reserve_name(ledger, "g", "name", "j2")


def test_folders_hold_the_batchs_name_and_part_of_its_id(harness: ProducerHarness) -> None:
    ledger = harness.producer.ledger
    ledger.open_batch("1234567890ab", "Spring / Sale!", 1)
    assert batch_folder(ledger.batch("1234567890ab")) == "Spring-Sale-12345678"
    ledger.open_batch("abcdefgh-1", "???", 1)
    assert batch_folder(ledger.batch("abcdefgh-1")) == "abcdefgh"
    assert batch_folder(None) == "single"
