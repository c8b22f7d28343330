"""Decompresses the body of a response that its server compressed without a request to do so.

A few kilobytes can expand to gigabytes, so the body is decompressed in pieces of a fixed size, and
a body with several codings is refused.
"""

import zlib
from collections.abc import Iterable, Iterator
from typing import Final

PIECE_BYTES: Final = 2**18
_GZIP_MARK: Final = b"\x1f\x8b"
_NO_CODING: Final = frozenset({"", "identity", "none"})


class EncodingError(Exception):
    """A body that cannot be decompressed; ``known`` if its coding is one that can be undone.

    The text continues a sentence that begins with the response.
    """

    def __init__(self, message: str, *, known: bool) -> None:
        super().__init__(message)
        self.known = known


def unpacked(chunks: Iterable[bytes], coding: str) -> Iterator[bytes]:
    """Undo the coding of a body.

    Args:
        chunks: The body as it was sent.
        coding: The value of ``Content-Encoding``.

    Raises:
        EncodingError: The coding is unknown, or the body is damaged or cut off.
    """
    codings = [word.strip().lower() for word in coding.split(",")]
    codings = [word for word in codings if word not in _NO_CODING]
    if not codings:
        yield from chunks
    elif codings in (["gzip"], ["x-gzip"], ["deflate"]):
        yield from _inflated(chunks)
    else:
        raise EncodingError(f"is compressed with {coding[:40]!r}", known=False)


def _inflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Undo gzip and both forms of deflate. A body in another form is returned unchanged."""
    decoder, pending = None, b""
    for chunk in chunks:
        data = pending + chunk
        if decoder is None:
            if len(data) < len(_GZIP_MARK):
                pending = data
                continue
            decoder, pending = _decoder(data), b""
            if decoder is None:
                # Some servers name a coding that they have not applied.
                yield data
                yield from chunks
                return
        yield from _pieces(decoder, data)
    if decoder is None:
        yield pending
    elif not decoder.eof:
        raise EncodingError("is compressed and cut off", known=True)


def _decoder(data: bytes) -> "zlib._Decompress | None":
    if data.startswith(_GZIP_MARK):
        return zlib.decompressobj(16 + zlib.MAX_WBITS)
    for bits in (zlib.MAX_WBITS, -zlib.MAX_WBITS):
        try:
            zlib.decompressobj(bits).decompress(data, PIECE_BYTES)
        except zlib.error:
            continue
        return zlib.decompressobj(bits)
    return None


def _pieces(decoder: "zlib._Decompress", data: bytes) -> Iterator[bytes]:
    try:
        while data and not decoder.eof:
            piece = decoder.decompress(data, PIECE_BYTES)
            data = decoder.unconsumed_tail
            if piece:
                yield piece
    except zlib.error as error:
        raise EncodingError("is compressed and damaged", known=True) from error
