"""Lines of a spreadsheet (.xlsx, .ods): a header, then the rows.

The chosen sheet is held in memory by its reader: 100,000 rows of 5 columns take about 90 MB.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from python_calamine import (
    CalamineError,
    CalamineSheet,
    CalamineWorkbook,
    PasswordError,
    SheetTypeEnum,
    SheetVisibleEnum,
)

from tasks.manifests.columns import Columns, check_header
from tasks.manifests.field_values import number_as_text
from tasks.manifests.formats.csv_lines import Header
from tasks.manifests.formats.spreadsheet_bounds import Cell, Findings, check_spreadsheet, letters
from tasks.manifests.lines import ManifestError, ManifestLine, listed, strip_cell

MAX_MERGED: Final = 1_000_000
"""The most cells that merged cells above them cover."""

Value = str | int | float | bool
Read = int | float | str | bool | dt.time | dt.date | dt.datetime | dt.timedelta


def open_spreadsheet(
    path: Path, columns: Columns, sheet: str | None
) -> tuple[Header, Iterator[ManifestLine]]:
    """Return the header and the rows of a sheet: the one of a name or number, or the first.

    Raises:
        ManifestError: The file, the sheet or its header cannot be read.
    """
    findings = check_spreadsheet(path)
    found = _read_sheet(path, sheet)
    rows = _rows(found, findings)
    first = next(rows, None)
    if first is None:
        raise ManifestError(
            f'The sheet "{found.name}" of {path} is empty. Choose another one with --sheet.'
        )
    header = Header(tuple(str(_value(cell)) for cell in first[1]), ",")
    check_header(f'{path}, sheet "{found.name}"', columns, header.columns)
    wanted = [name if name in columns.used else "" for name in header.columns]
    gaps = _Gaps(found.name, wanted, findings)
    return header, (_line(number, cells, header, gaps) for number, cells in rows)


def _read_sheet(path: Path, chosen: str | None) -> CalamineSheet:
    try:
        with CalamineWorkbook.from_path(path) as workbook:
            tables = {
                sheet.name: sheet.visible is SheetVisibleEnum.Visible
                for sheet in workbook.sheets_metadata
                if sheet.typ is SheetTypeEnum.WorkSheet
            }
            return workbook.get_sheet_by_name(_choose(path, tables, chosen))
    except PasswordError as error:
        raise ManifestError(f"{path} is protected by a password: save it without one.") from error
    except (CalamineError, OSError) as error:
        raise ManifestError(f"{path} is damaged ({error}). Save it again.") from error
    except BaseException as error:
        # A panic in the native code of the reader is not an `Exception`.
        if type(error).__name__ != "PanicException":
            raise
        raise ManifestError(f"{path} is damaged. Save it again.") from error


def _choose(path: Path, tables: Mapping[str, bool], chosen: str | None) -> str:
    """Return the name of a sheet. Hidden sheets are only taken by name or number."""
    visible = [name for name, is_visible in tables.items() if is_visible]
    if chosen is None and visible:
        return visible[0]
    names = {name.casefold(): name for name in tables} | {name: name for name in tables}
    for name in (chosen, chosen.strip().casefold()) if chosen else ():
        if name in names:
            return names[name]
    numbers = {str(number): name for number, name in enumerate(tables, start=1)}
    if chosen in numbers:
        return numbers[chosen]
    raise ManifestError(
        f"{path} has no {f'sheet {chosen!r}' if chosen else 'visible sheet'}. Its sheets are "
        f"{listed(map(repr, tables)) or 'none'}; choose one with --sheet."
    )


def _rows(sheet: CalamineSheet, findings: Findings) -> Iterator[tuple[int, list[Read]]]:
    """Yield the rows that are not blank, with their numbers as the spreadsheet shows them.

    The value of a cell that is merged over several rows belongs to each of them.
    """
    first_column = sheet.start[1] if sheet.start else 0
    merged = {(row, column - first_column) for row, column in _merged(sheet, findings)}
    kept: dict[int, Read] = {}
    for row, cells in enumerate(sheet.iter_rows()):
        for column, cell in enumerate(cells):
            if (row, column) not in merged:
                kept[column] = cell
            elif cell == "":
                cells[column] = kept.get(column, "")
        if any(cell != "" for cell in cells):
            yield row + 1, [""] * first_column + cells


@dataclass(frozen=True, slots=True)
class _Gaps:
    """Cells whose value is missing. In ``wanted``, columns that are not used have an empty name."""

    sheet: str
    wanted: Sequence[str]
    findings: Findings

    def find(self, number: int, values: Sequence[Value]) -> str:
        """Return why a row cannot be used; empty if no value is missing."""
        for column, (name, value) in enumerate(zip(self.wanted, values, strict=False)):
            what = self.findings.why_missing(self.sheet, (number - 1, column))
            if name and value == "" and what is not None:
                return (
                    f"{name}: the cell {letters(column)}{number} holds {what}. Correct it, and "
                    f"save the file in a spreadsheet program"
                )
        return ""


def _merged(sheet: CalamineSheet, findings: Findings) -> list[Cell]:
    """Return the cells that are covered by one above them.

    Raises:
        ManifestError: There are too many.
    """
    ranges = [(top, left, bottom) for (top, left), (bottom, _) in sheet.merged_cell_ranges or []]
    ranges += [(*cell, last) for name, cell, last in findings.merged if name == sheet.name]
    covered = [
        (range(top + 1, min(last, sheet.total_height) + 1), left) for top, left, last in ranges
    ]
    if sum(len(rows) for rows, _ in covered) > MAX_MERGED:
        raise ManifestError(
            f'The sheet "{sheet.name}" has over {MAX_MERGED:,} merged cells. Write the value into '
            f"each row instead."
        )
    return [(row, column) for rows, column in covered for row in rows]


def _line(number: int, cells: Sequence[Read], header: Header, gaps: _Gaps) -> ManifestLine:
    values = [_value(cell) for cell in cells]
    raw = tuple(map(str, values))
    reason = gaps.find(number, values)
    if reason:
        return ManifestLine(number, raw=raw, error=reason)
    named = zip(header.columns, values, strict=False)
    return ManifestLine(number, {name: value for name, value in named if name}, raw)


def _value(cell: Read) -> Value:
    """Return a cell as people read it."""
    match cell:
        case str():
            return strip_cell(cell)
        case bool():
            return cell
        case int() | float():
            text = number_as_text(cell)
            return int(text) if text.lstrip("-").isdecimal() else cell
        case dt.datetime():
            is_day = cell.time() == dt.time()
            return cell.date().isoformat() if is_day else cell.isoformat(" ", "minutes")
        case dt.date() | dt.time():
            return cell.isoformat()
        case dt.timedelta():
            return str(dt.timedelta(seconds=round(cell.total_seconds())))
