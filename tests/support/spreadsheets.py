"""Spreadsheet files for tests."""

import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import xlsxwriter

_ODS_TYPE = "application/vnd.oasis.opendocument.spreadsheet"
_NAMES = "urn:oasis:names:tc:opendocument:xmlns"
_MANIFEST = (
    f'<manifest:manifest xmlns:manifest="{_NAMES}:manifest:1.0"><manifest:file-entry '
    f'manifest:full-path="/" manifest:media-type="{_ODS_TYPE}"/></manifest:manifest>'
)
_CONTENT = (
    f'<office:document-content xmlns:office="{_NAMES}:office:1.0" xmlns:table="{_NAMES}:table:1.0" '
    f'xmlns:text="{_NAMES}:text:1.0"><office:body><office:spreadsheet><table:table '
    f'table:name="Sheet1">%s</table:table></office:spreadsheet></office:body>'
    f"</office:document-content>"
)


def write_xlsx(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows to the first sheet of a workbook."""
    workbook = xlsxwriter.Workbook(path, {"strings_to_urls": False})
    sheet = workbook.add_worksheet()
    for number, row in enumerate(rows):
        sheet.write_row(number, 0, row)
    workbook.close()


def write_ods(path: Path, rows: Iterable[Sequence[Any]], end: str = "") -> None:
    """Write rows to the sheet of a document, and then any XML of its table."""
    table = "".join(
        f"<table:table-row>{''.join(map(_cell, row))}</table:table-row>" for row in rows
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", _ODS_TYPE, zipfile.ZIP_STORED)
        archive.writestr("META-INF/manifest.xml", _MANIFEST)
        archive.writestr("content.xml", _CONTENT % (table + end))


def _cell(value: object) -> str:
    text = f"<text:p>{escape(str(value))}</text:p>"
    if isinstance(value, str):
        return f'<table:table-cell office:value-type="string">{text}</table:table-cell>'
    kind = f'office:value-type="float" office:value="{value}"'
    return f"<table:table-cell {kind}>{text}</table:table-cell>"


def replace_in_zip(path: Path, name: str, old: str, new: str) -> None:
    """Replace a text in a file of an archive."""
    with zipfile.ZipFile(path) as archive:
        files = {info: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, content in files.items():
            if info.filename == name:
                assert old.encode() in content, content
                archive.writestr(name, content.replace(old.encode(), new.encode()))
            else:
                archive.writestr(info.filename, content)
