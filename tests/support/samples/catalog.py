"""A sample catalog: a CSV of products, some rows of which are defective."""

import csv
import io
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw
from pillow_heif import register_heif_opener

register_heif_opener()

COLUMNS = ("image", "prompt", "seconds", "aspect", "sku", "note")
FORMS = {"heic": "HEIF", "avif": "AVIF", "tiff": "TIFF", "bmp": "BMP"}
"""Picture formats that must be converted before they are uploaded, by their file extensions."""
DEFECTS = (
    *("missing", "text", "empty", "folder", "length", "shape", "cells", "quotes", "nameless"),
    "damaged",
)
"""The defects of bad rows, in turn. A damaged picture is found only when it is opened."""


@dataclass(frozen=True, slots=True)
class Mix:
    """How many rows there are, how many of each kind, and the pictures' ``side`` in pixels."""

    rows: int
    bad: int
    repeated: int
    converted: int
    side: int = 96


@dataclass(slots=True)
class Catalog:
    """A manifest with the expected results. Rows are numbered by their lines in the file, from 1.

    Attributes:
        manifest: The CSV.
        good: The rows that become a clip.
        converted: Those of them whose picture must be converted.
        repeated: The rows that repeat an earlier one.
        rejected: The rows that are rejected at submission.
        damaged: The rows that only the worker, or a dry run, finds to be defective.
    """

    manifest: Path
    good: set[int] = field(default_factory=set)
    converted: set[int] = field(default_factory=set)
    repeated: set[int] = field(default_factory=set)
    rejected: set[int] = field(default_factory=set)
    damaged: set[int] = field(default_factory=set)

    def add(self, line: int, kind: str) -> None:
        """Add a row to the sets that its kind belongs to."""
        match kind:
            case "repeated":
                self.repeated.add(line)
            case "damaged":
                self.damaged.add(line)
            case "png":
                self.good.add(line)
            case _ if kind in FORMS:
                self.good.add(line)
                self.converted.add(line)
            case _:
                self.rejected.add(line)


def write_catalog(folder: Path, mix: Mix, seed: int) -> Catalog:
    """Write a manifest and its pictures to a new folder; the seed decides the order of the rows."""
    folder.mkdir()
    kinds = [
        *(["repeated"] * mix.repeated),
        *(DEFECTS[n % len(DEFECTS)] for n in range(mix.bad)),
        *(list(FORMS)[n % len(FORMS)] for n in range(mix.converted)),
        *(["png"] * (mix.rows - mix.bad - mix.repeated - mix.converted - 1)),
    ]
    random.Random(seed).shuffle(kinds)
    found = Catalog(folder / "catalog.csv")
    text, line = _text(COLUMNS), 2
    good: list[str] = []
    for number, kind in enumerate(["png", *kinds], start=1):
        row = (
            good[number * 7 % len(good)] if kind == "repeated" else _row(folder, number, kind, mix)
        )
        found.add(line, kind)
        if line in found.good:
            good.append(row)
        text += row
        line += row.count("\n")
    found.manifest.write_text(text, encoding="utf-8", newline="")
    return found


def picture(path: Path, number: int, side: int) -> None:
    """Write a picture whose colors and number differ from all others."""
    shade = (60 + number * 37 % 180, 60 + number * 91 % 180, 60 + number * 53 % 180)
    image = Image.new("RGB", (side, side * 3 // 4), shade)
    pen = ImageDraw.Draw(image)
    pen.ellipse((side // 2, side // 4, side * 7 // 8, side * 5 // 8), fill=shade[::-1])
    pen.text((side // 12, side // 8), str(number), fill="white", font_size=side / 4)
    image.save(path, FORMS.get(path.suffix[1:], "PNG"))


def correct_rejects(rejects: Path, side: int) -> None:
    """Correct each row of a file of rejected rows in place, as a person would."""
    with rejects.open(encoding="utf-8", newline="") as file:
        table = csv.DictReader(file)
        rows = list(table)
    text = _text(table.fieldnames or ())
    for row in rows:
        number = 10**5 + int(row["rejected_row"])
        name = f"corrected-{number}.png"
        picture(rejects.parent / name, number, side)
        corrected = {**row, "image": name, "prompt": "", "seconds": "1", "aspect": "", "note": ""}
        text += _text([corrected[column] for column in table.fieldnames or ()])
    rejects.write_text(text, encoding="utf-8", newline="")


def _row(folder: Path, number: int, kind: str, mix: Mix) -> str:
    """Write the picture of a row, and return the row as it is written in the manifest."""
    form = kind if kind in FORMS else "png"
    name = f"product-{number}.{form}"
    path = folder / name
    cells = [name, f"Slow push-in on product {number}", "1", "", f"A-{number}", ""]
    match kind:
        case "missing":
            pass
        case "text":
            path.write_text("This is not a picture.")
        case "empty":
            path.touch()
        case "folder":
            path.mkdir()
        case _:
            picture(path, number, mix.side)
    match kind:
        case "damaged":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        case "length":
            cells[2] = "500"
        case "shape":
            cells[3] = "4:3"
        case "cells":
            return f"{name},Slow push-in, then left, then right,1,,A-{number},\n"
        case "quotes":
            return f'"{name}"x,Slow push-in,1,,A-{number},\n'
        case "nameless":
            cells[0] = ""
        case _ if number % 10 == 0:
            cells[5] = "bought\nin spring"
    return _text(cells)


def _text(cells: Sequence[str]) -> str:
    sink = io.StringIO()
    csv.writer(sink, lineterminator="\n").writerow(cells)
    return sink.getvalue()
