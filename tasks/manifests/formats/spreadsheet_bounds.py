"""Bounds of spreadsheet files, checked before they are read into memory.

A small file can unpack to any size, and name a cell in the last row of the last column. The same
pass over the file finds the cells whose value is missing: errors, and formulas that no spreadsheet
program has calculated.
"""

import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final
from xml.parsers import expat

from tasks.manifests.lines import ManifestError

MAX_UNPACKED: Final = 500 * 2**20
"""The most bytes of tables in a file."""
MAX_CELLS: Final = 10_000_000
"""The most cells in the rectangle that holds a sheet's values. They take about 300 MB."""
_OLD_OFFICE: Final = b"\xd0\xcf\x11\xe0"
"""The first bytes of old Office files, and of new ones that are encrypted."""
_MAX_FILES: Final = 10_000
_MAX_KEPT: Final = 100_000
_CHUNK: Final = 2**16
_REFERENCE: Final = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")
_XML_STARTS: Final = (b"<", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_DRAWINGS: Final = (".svg", ".vml")
_DAMAGE: Final = (
    *(zipfile.BadZipFile, zlib.error, EOFError, ValueError, LookupError, expat.ExpatError),
)
_ERROR: Final = "an error"
_FORMULA: Final = "a formula without a result"

Cell = tuple[int, int]
"""Row and column, from 0."""


@dataclass(slots=True)
class Findings:
    """What was found in a file. Cells of an .xlsx file are stored without the name of their sheet.

    Only the reader can tell which part of an .xlsx file belongs to which sheet.

    Attributes:
        missing: What each cell has instead of its missing value, by sheet and position.
        merged: The cells of .ods files that are merged over several rows: sheet, first row and
            column, last row.
    """

    missing: dict[tuple[str, Cell], str] = field(default_factory=dict)
    merged: list[tuple[str, Cell, int]] = field(default_factory=list)

    def why_missing(self, sheet: str, cell: Cell) -> str | None:
        """Return what a cell has instead of its value; None if its value is not missing."""
        return self.missing.get((sheet, cell)) or self.missing.get(("", cell))

    def add_missing(self, sheet: str, cell: Cell, what: str) -> None:
        """Note a cell whose value is missing."""
        if len(self.missing) < _MAX_KEPT:
            self.missing[sheet, cell] = what

    def add_merged(self, sheet: str, cell: Cell, last: int) -> None:
        """Note a cell that is merged over several rows."""
        if len(self.merged) < _MAX_KEPT:
            self.merged.append((sheet, cell, last))


def check_spreadsheet(path: Path) -> Findings:
    """Check the bounds of an .xlsx or .ods file, and return what was found.

    Raises:
        ManifestError: The file is too large, or damaged.
    """
    try:
        with path.open("rb") as file:
            return _check(path, file)
    except ManifestError:
        raise
    except _DAMAGE as error:
        raise ManifestError(f"{path} is damaged ({error}). Save it again.") from error
    except (NotImplementedError, RuntimeError) as error:
        raise ManifestError(f"{path} cannot be read ({error}). Save it again.") from error
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror or error}.") from error


def _check(path: Path, file: BinaryIO) -> Findings:
    if file.read(len(_OLD_OFFICE)) == _OLD_OFFICE:
        raise ManifestError(
            f"{path} is protected by a password, or is an old .xls file. Save it as .xlsx without "
            f"a password."
        )
    with zipfile.ZipFile(file) as archive:
        return _check_files(path, archive)


def _check_files(path: Path, archive: zipfile.ZipFile) -> Findings:
    names = archive.infolist()
    if len(names) > _MAX_FILES:
        raise ManifestError(f"{path} holds {len(names):,} files, too many for a spreadsheet.")
    left, findings = MAX_UNPACKED, Findings()
    for name in names:
        with archive.open(name) as member:
            head = member.read(_CHUNK)
            if not head.lstrip().startswith(_XML_STARTS):
                continue
            if name.filename.lower().endswith(_DRAWINGS):
                # Drawings need not be well-formed. A sheet could have the name of a drawing.
                if b"sheetData" in head + member.read(MAX_UNPACKED):
                    raise ManifestError(f"{path} has a sheet that is named as a drawing.")
                continue
            sheet = _Sheet(findings)
            parser = _parser(sheet)
            while head:
                left -= len(head)
                if left < 0:
                    raise ManifestError(
                        f"{path} holds over {MAX_UNPACKED >> 20} MB of tables. Split it, or save "
                        f"it as CSV."
                    )
                parser.Parse(head, False)
                _check_area(path, sheet)
                head = member.read(_CHUNK)
            parser.Parse(b"", True)
    return findings


def _check_area(path: Path, sheet: "_Sheet") -> None:
    if sheet.rows * sheet.columns > MAX_CELLS:
        raise ManifestError(
            f"{path} has a sheet of {sheet.rows:,} rows and {sheet.columns:,} columns, over "
            f"{MAX_CELLS:,} cells. Delete what is far below or beside the table, or save it as CSV."
        )


def _parser(sheet: "_Sheet") -> expat.XMLParserType:
    parser = expat.ParserCreate()
    parser.StartElementHandler = sheet.start
    parser.EndElementHandler = sheet.end
    parser.CharacterDataHandler = sheet.text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    return parser


def _refuse_doctype(*_: object) -> None:
    raise ValueError("it defines entities")


class _Sheet:
    """Handler of the XML events of one sheet, in both formats: its size, and findings in it."""

    def __init__(self, findings: Findings) -> None:
        self.rows = 0
        self.columns = 0
        self._findings = findings
        self._name = ""
        self._cell: Cell = (-1, -1)
        self._is_error = self._is_formula = self._is_value = self._has_value = False
        self._row = 0
        self._column = 0
        self._repeated = 1

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        match name.rpartition(":")[2]:
            case "c":
                found = _REFERENCE.fullmatch(attributes.get("r", ""))
                self._cell = _position(found) if found else (self._cell[0], self._cell[1] + 1)
                kind = attributes.get("t")
                self._is_error, self._is_formula = kind == "e", False
                # The result of a formula can be an empty text.
                self._has_value = kind == "str"
            case "row":
                self._cell = (int(attributes.get("r", self._cell[0] + 2)) - 1, -1)
            case "v" | "is":
                self._is_value = True
                self._grow(self._cell[0] + 1, self._cell[1] + 1)
            case "f":
                self._is_formula = True
            case "table":
                self._row = 0
                self._name = _attribute(attributes, "name")
            case "table-row":
                self._column = 0
                self._repeated = _count(attributes, "number-rows-repeated")
            case "table-cell" | "covered-table-cell":
                self._start_cell(attributes)

    def _start_cell(self, attributes: Mapping[str, str]) -> None:
        repeated = _count(attributes, "number-columns-repeated")
        spanned = _count(attributes, "number-rows-spanned")
        if spanned > 1:
            self._findings.add_merged(
                self._name, (self._row, self._column), self._row + spanned - 1
            )
        # A cell can name its type in several namespaces.
        types = [
            value for key, value in attributes.items() if key.rpartition(":")[2] == "value-type"
        ]
        self._column += repeated
        if types:
            self._grow(self._row + self._repeated, self._column)
        if "error" in types:
            self._findings.add_missing(self._name, (self._row, self._column - 1), _ERROR)

    def end(self, name: str) -> None:
        match name.rpartition(":")[2]:
            case "v" | "is":
                self._is_value = False
            case "c" if self._is_error:
                self._findings.add_missing("", self._cell, _ERROR)
            case "c" if self._is_formula and not self._has_value:
                self._findings.add_missing("", self._cell, _FORMULA)
            case "table-row":
                self._row += self._repeated

    def text(self, _: str) -> None:
        self._has_value = self._has_value or self._is_value

    def _grow(self, rows: int, columns: int) -> None:
        self.rows = max(self.rows, rows)
        self.columns = max(self.columns, columns)


def _position(found: re.Match[str]) -> Cell:
    column = 0
    for letter in found[1]:
        column = column * 26 + ord(letter) - 64
    return int(found[2]) - 1, column - 1


def _count(attributes: Mapping[str, str], name: str) -> int:
    return int(_attribute(attributes, name) or 1)


def _attribute(attributes: Mapping[str, str], name: str) -> str:
    """Return the attribute of a name in any namespace; empty if there is none."""
    return next((value for key, value in attributes.items() if key.rpartition(":")[2] == name), "")


def letters(column: int) -> str:
    """Return the letters of a column, such as "AB". Columns are counted from 0."""
    found, left = "", column + 1
    while left:
        left, rest = divmod(left - 1, 26)
        found = chr(ord("A") + rest) + found
    return found
