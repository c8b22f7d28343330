"""Which column is which field of a job."""

import json
from pathlib import Path

import pytest

from tasks.manifests.columns import ColumnChoices, ColumnError, Columns
from tasks.manifests.lines import ManifestError
from tasks.manifests.manifest import Manifest, ManifestOptions, open_manifest
from tasks.schema.image_job import ImageJob


def manifest(folder: Path, text: str, prompt: str | None = None, **options: str | None) -> Manifest:
    path = folder / "jobs.csv"
    path.write_text(text, encoding="utf-8")
    return open_manifest(path, prompt, ManifestOptions(**options))


def job(read: Manifest) -> ImageJob:
    (row,) = read.rows
    assert row.job is not None, row.reason
    return row.job


@pytest.mark.parametrize(
    "name",
    [
        *("image", "IMAGE", " Image ", "image_url", "Image URL", "photo", "picture", "file"),
        *("filename", "path", "url", "Bild", "imagen", "图片", "\ufeffPhoto"),
    ],
)
def test_names_of_the_image(tmp_path: Path, name: str) -> None:
    read = manifest(tmp_path, f"{name};sku\na.jpg;A\n")
    assert job(read).image == "a.jpg"
    assert read.columns.as_dict() == {"used": [name.strip("\ufeff ")], "ignored": ["sku"]}


@pytest.mark.parametrize(
    "name", ["prompt", "Text", "instruction", "Instructions", "description", "提示词"]
)
def test_names_of_the_prompt(tmp_path: Path, name: str) -> None:
    assert job(manifest(tmp_path, f"image;{name}\na.jpg;Pan left\n")).prompt == "Pan left"


def test_the_own_name_is_chosen_before_other_names(tmp_path: Path) -> None:
    text = "url,image,description,prompt\nhttps://shop.example/1,a.jpg,A mug,Pan left\n"
    found = job(manifest(tmp_path, text))
    assert (found.image, found.prompt) == ("a.jpg", "Pan left")
    assert found.data == {"url": "https://shop.example/1", "description": "A mug"}


@pytest.mark.parametrize(
    ("header", "option"),
    [("photo,file", "--image-column"), ("image,text,description", "--prompt-column")],
)
def test_two_other_names_are_ambiguous(tmp_path: Path, header: str, option: str) -> None:
    with pytest.raises(ManifestError, match="several columns can be") as caught:
        manifest(tmp_path, f"{header},sku\na.jpg\n")
    assert option in str(caught.value)
    assert str([*header.split(","), "sku"])[1:-1] in str(caught.value)


def test_another_name_of_the_prompt_is_data_beside_a_prompt(tmp_path: Path) -> None:
    read = manifest(tmp_path, "image,text,sku\na.jpg,a mug,A\n", "Show {text}")
    assert job(read).prompt == "Show a mug"
    assert read.columns.as_dict() == {"used": ["image", "text"], "ignored": ["sku"]}
    (note,) = read.columns.notes
    assert '"text" is not the prompt' in note
    assert "--prompt-column 'text'" in note


def test_the_own_name_of_the_prompt_counts_beside_a_prompt(tmp_path: Path) -> None:
    read = manifest(tmp_path, "image,prompt,text\na.jpg,Pan left,x\n", "Zoom")
    assert job(read).prompt == "Pan left"
    assert not read.columns.notes


def test_columns_can_be_chosen(tmp_path: Path) -> None:
    text = "image,prompt,Shot,idea\na.jpg,x,b.jpg,Pan left\n"
    read = manifest(tmp_path, text, "Show {idea}", image_column="shot", prompt_column=" IDEA ")
    found = job(read)
    assert (found.image, found.prompt) == ("b.jpg", "Pan left")
    assert found.data == {"image": "a.jpg", "prompt": "x"}


def test_a_chosen_column_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"no column 'foto' for --image-column.*'image', 'a'"):
        manifest(tmp_path, "image,a\na.jpg,b\n", image_column="foto")


def test_a_placeholder_can_have_the_name_of_the_column_or_of_the_field(tmp_path: Path) -> None:
    read = manifest(tmp_path, "Photo,Name\na.jpg,Mug\n", "{Photo} {image} {Name}")
    assert job(read).prompt == "a.jpg a.jpg Mug"


@pytest.mark.parametrize(
    ("first", "shown"),
    [
        ("cat.jpg,A-1\n", "'image,column2'"),
        ("A-1;https://example.org/a;Pan left slowly\n", "'column1;image;prompt'"),
    ],
)
def test_a_missing_header_is_named_and_one_is_shown(tmp_path: Path, first: str, shown: str) -> None:
    with pytest.raises(ManifestError, match="has no header line") as caught:
        manifest(tmp_path, first)
    assert shown in str(caught.value)


def test_columns_of_a_folder_cannot_be_chosen(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    for option in ("image_column", "prompt_column", "encoding"):
        with pytest.raises(ManifestError, match="does not apply to"):
            open_manifest(tmp_path, options=ManifestOptions(**{option: "x"}))


def test_each_line_of_json_has_its_own_columns(tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    rows: list[dict[str, object]] = [
        {"Photo": "a.jpg", "text": "Pan"},
        {"image": "b.jpg", "url": "x", "key": 12.0, "seconds": "5,5"},
        {"file": "c.jpg", "path": "d.jpg"},
        {"sku": 1},
        {"image": "e.jpg", "Image": "f.jpg"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    read = open_manifest(path)
    first, second, *others = read.rows
    assert first.job
    assert (first.job.image, first.job.prompt) == ("a.jpg", "Pan")
    assert second.job
    assert (second.job.key, second.job.seconds, second.job.data) == ("12", 5.5, {"url": "x"})
    reasons = [row.reason for row in others]
    assert "several columns can be the image: 'file', 'path'" in reasons[0]
    assert "The columns are 'sku'" in reasons[1]
    assert "twice" in reasons[2]
    assert read.columns.as_dict() == {
        "used": ["Photo", "text", "image", "key", "seconds"],
        "ignored": ["url"],
    }


def test_programs_name_their_fields() -> None:
    columns = Columns(ColumnChoices(synonyms=False))
    assert columns.fields_of(["Image", "text"]) == {"Image": "image"}
    with pytest.raises(ColumnError, match='no column "image"'):
        columns.fields_of(["photo"])


@pytest.mark.parametrize(
    ("column", "cell", "value"),
    [
        *(("seconds", "5,5", 5.5), ("seconds", " 5.5 ", 5.5), ("aspect", "09:16", "9:16")),
        *(("aspect", "16:09:00", "16:9"), ("aspect", "01:01", "1:1"), ("key", "007", "007")),
    ],
)
def test_values_as_spreadsheets_write_them(
    tmp_path: Path, column: str, cell: str, value: object
) -> None:
    read = manifest(tmp_path, f"image;{column}\na.jpg;{cell}\n")
    assert getattr(job(read), column) == value
