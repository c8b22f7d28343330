"""A catalog as people have them: a CSV of products, some rows of which are wrong."""

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
"""Forms that must be converted before they are sent, by the ending of their names."""
DEFECTS = (
    *("missing", "text", "empty", "folder", "length", "shape", "cells", "quotes", "nameless"),
    "damaged",
)
"""What is wrong with bad rows, in turn. A damaged picture shows only to who opens it."""


@dataclass(frozen=True, slots=True)
class Mix:
    """How many rows, and how many of them are of a kind; ``side`` of the pictures in pixels."""

    rows: int
    bad: int
    again: int
    converted: int
    side: int = 96


@dataclass(slots=True)
class Catalog:
    """A manifest and what is to come of it. Rows are known by their lines in the file, from 1.

    Attributes:
        manifest: The CSV.
        good: The rows that become a clip.
        converted: Those of them whose picture must be converted.
        again: The rows that repeat an earlier one.
        rejected: The rows that are refused when they are submitted.
        damaged: The rows that only the worker, or a dry run, finds to be bad.
    """

    manifest: Path
    good: set[int] = field(default_factory=set)
    converted: set[int] = field(default_factory=set)
    again: set[int] = field(default_factory=set)
    rejected: set[int] = field(default_factory=set)
    damaged: set[int] = field(default_factory=set)

    def note(self, line: int, kind: str) -> None:
        """Expect of a row what its kind says."""
        match kind:
            case "again":
                self.again.add(line)
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
    """Write a manifest and its pictures into a new folder, in an order that the seed decides."""
    folder.mkdir()
    kinds = [
        *(["again"] * mix.again),
        *(DEFECTS[n % len(DEFECTS)] for n in range(mix.bad)),
        *(list(FORMS)[n % len(FORMS)] for n in range(mix.converted)),
        *(["png"] * (mix.rows - mix.bad - mix.again - mix.converted - 1)),
    ]
    random.Random(seed).shuffle(kinds)
    found = Catalog(folder / "catalog.csv")
    text, line = _text(COLUMNS), 2
    good: list[str] = []
    for number, kind in enumerate(["png", *kinds], start=1):
        row = good[number * 7 % len(good)] if kind == "again" else _row(folder, number, kind, mix)
        found.note(line, kind)
        if line in found.good:
            good.append(row)
        text += row
        line += row.count("\n")
    found.manifest.write_text(text, encoding="utf-8", newline="")
    return found


def picture(path: Path, number: int, side: int) -> None:
    """A picture of its own: its shades and a number."""
    shade = (60 + number * 37 % 180, 60 + number * 91 % 180, 60 + number * 53 % 180)
    image = Image.new("RGB", (side, side * 3 // 4), shade)
    pen = ImageDraw.Draw(image)
    pen.ellipse((side // 2, side // 4, side * 7 // 8, side * 5 // 8), fill=shade[::-1])
    pen.text((side // 12, side // 8), str(number), fill="white", font_size=side / 4)
    image.save(path, FORMS.get(path.suffix[1:], "PNG"))


def correct_rejects(rejects: Path, side: int) -> None:
    """Put each rejected row right where it stands, as a person would."""
    with rejects.open(encoding="utf-8", newline="") as file:
        table = csv.DictReader(file)
        rows = list(table)
    text = _text(table.fieldnames or ())
    for row in rows:
        number = 10**5 + int(row["rejected_row"])
        name = f"mended-{number}.png"
        picture(rejects.parent / name, number, side)
        right = {**row, "image": name, "prompt": "", "seconds": "1", "aspect": "", "note": ""}
        text += _text([right[column] for column in table.fieldnames or ()])
    rejects.write_text(text, encoding="utf-8", newline="")


def _row(folder: Path, number: int, kind: str, mix: Mix) -> str:
    """A row of the manifest as it stands there, and the file that it names."""
    form = kind if kind in FORMS else "png"
    name = f"product-{number}.{form}"
    path = folder / name
    cells = [name, f"Slow push-in on product {number}", "1", "", f"A-{number}", ""]
    match kind:
        case "missing":
            pass
        case "text":
            path.write_text("This is no picture at all.")
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
