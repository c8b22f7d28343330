"""JPEGs that are decoded row by row, as the decoder decides it, or stricter."""

import io
from pathlib import Path

import pytest

from tests.unit.worker.media.sample_media import camera_data, sample_image
from worker.media.jpeg_scans import decodes_row_by_row


def jpeg(**options: object) -> bytes:
    sink = io.BytesIO()
    sample_image().save(sink, "JPEG", **options)
    return sink.getvalue()


@pytest.mark.parametrize("options", [{}, {"exif": camera_data()}, {"subsampling": 0}])
def test_a_plain_jpeg_is_decoded_row_by_row(given: Path, options: dict[str, object]) -> None:
    given.write_bytes(jpeg(**options))
    assert decodes_row_by_row(given)


def test_a_progressive_jpeg_is_not_decoded_row_by_row(given: Path) -> None:
    given.write_bytes(jpeg(progressive=True))
    assert not decodes_row_by_row(given)


def test_an_unparsable_jpeg_is_not_decoded_row_by_row(given: Path) -> None:
    """A marker without a length, after which another parser would find another frame."""
    plain = jpeg()
    decoy = plain.index(b"\xff\xc0")
    for bare in (b"\x00", b"\x01", b"\xd0", b"\xd7", b"\xd8", b"\xd9"):
        given.write_bytes(plain[:decoy] + b"\xff" + bare + plain[decoy:])
        assert not decodes_row_by_row(given), bare
    for end in range(2, plain.index(b"\xff\xda") + 4):
        given.write_bytes(plain[:end])
        assert not decodes_row_by_row(given), end
