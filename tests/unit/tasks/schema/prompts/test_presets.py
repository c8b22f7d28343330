"""Presets by name, and in files as people write them."""

from pathlib import Path

import pytest

from tasks.schema.errors import InvalidPayloadError
from tasks.schema.image_job import DEFAULT_PROMPT, ImageJob
from tasks.schema.prompts.message_text import stated_lengths
from tasks.schema.prompts.presets import MAX_BYTES, PRESETS, Preset, find_preset


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_the_built_in_presets_make_valid_jobs(preset: Preset) -> None:
    assert find_preset(f" {preset.name.upper()}") == preset
    fields = {"prompt": preset.prompt, "aspect": preset.aspect, "seconds": preset.seconds}
    ImageJob.read({"image": "a.jpg", **fields})
    assert preset.prompt is not None
    assert "{" not in preset.prompt, "a folder has no columns"
    if preset.seconds is not None:
        assert not stated_lengths(preset.prompt), "the field seconds is added to it"


def test_the_default_prompt_is_a_preset() -> None:
    assert PRESETS["extend"].prompt == DEFAULT_PROMPT


@pytest.mark.parametrize(
    "text",
    [
        'prompt = "Pan over {name}"\naspect = "9:16"\nseconds = 5.5\n',
        '\ufeffprompt = "Pan over {name}"\r\naspect = "9:16"\r\nseconds = 5.5\r\n',
    ],
)
def test_a_file_can_set_all_values(tmp_path: Path, text: str) -> None:
    path = tmp_path / "spring sale.toml"
    path.write_bytes(text.encode())
    assert find_preset(str(path)) == Preset("spring sale", "Pan over {name}", "9:16", 5.5)


def test_a_file_can_set_one_value(tmp_path: Path) -> None:
    path = tmp_path / "wide.toml"
    path.write_text('aspect = "16:9"')
    assert find_preset(str(path)) == Preset("wide", None, "16:9", None)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "sets none of"),
        (b"prompt = Pan left", "is not TOML"),
        (b'prompt = "\xff"', "is not UTF-8"),
        (b'prompt = "  "', "prompt: must not be empty"),
        (b'aspect = "4:3"', "aspect: "),
        (b"seconds = 0", "seconds: "),
        (b"seconds = nan", "seconds: "),
        (b'colour = "red"', "colour: "),
        (b"#" * (MAX_BYTES + 1), "has over"),
    ],
)
def test_an_invalid_preset_is_refused_with_the_reason_in_one_line(
    tmp_path: Path, content: bytes, why: str
) -> None:
    path = tmp_path / "p.toml"
    path.write_bytes(content)
    with pytest.raises(InvalidPayloadError) as refused:
        find_preset(str(path))
    (problem,) = refused.value.problems
    assert f"preset {path}: " in problem
    assert why in problem


@pytest.mark.parametrize("text", ["", "nope", "nope.toml", ".", "\x00", "x" * 5000])
def test_an_unknown_preset_names_the_known_ones(text: str) -> None:
    with pytest.raises(InvalidPayloadError, match="extend, product, portrait, landscape, story"):
        find_preset(text)
