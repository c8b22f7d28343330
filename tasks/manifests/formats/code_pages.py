"""Detection of the code page in which Excel saved a text, which does not name it."""

import re
from typing import Final

WESTERN: Final = "windows-1252"
_LATIN: Final = ("cp1250", "cp1252", "cp1254")
"""Any of them counts as Western, because short texts are too often taken for the other ones."""
_NOT_LATIN: Final = {"cp1251": "windows-1251", "cp1253": "windows-1253"}
_COMMON: Final = {
    "cp949": re.compile(rb"[\xb0-\xc8][\xa1-\xfe]"),
    "cp932": re.compile(rb"\x82[\x9f-\xf1]|\x83[\x40-\x96]|[\x88-\x98][\x40-\xfc]"),
    "gb18030": re.compile(rb"[\xb0-\xd7][\xa1-\xfe]"),
    "big5": re.compile(rb"[\xa4-\xc6][\x40-\xfe]"),
}
"""The bytes of common characters in code pages of East Asia.

Source: JIS X 0208 (kana, kanji of level 1), GB 2312 (level 1), KS X 1001 (Hangul), Big5 (level 1).
"""
_MOSTLY: Final = 0.7
_LONE_LETTER: Final = re.compile(
    rb"(?<=[A-Za-z])[\xc0-\xff](?![\x80-\xff])|(?<![\x80-\xff])[\xc0-\xff](?=[A-Za-z])"
)
_BYTES_IN_A_ROW: Final = re.compile(rb"[\x80-\xff]{2,}")
_WORD: Final = re.compile(rb"[\xc0-\xff]{3,}")


def guess_code_page(sample: bytes) -> str:
    """Return the most likely code page of a text that is not UTF-8.

    The detector chooses among those in which Excel saves. It is often wrong about short texts, so
    its answer must agree with how scripts are written: letters beyond ASCII stand alone in words of
    Latin letters, and in groups in other scripts; and most characters of a text are common ones.
    """
    lone = len(_LONE_LETTER.findall(sample))
    if lone > _MOSTLY * (lone + len(_BYTES_IN_A_ROW.findall(sample))):
        return WESTERN
    has_words = _WORD.search(sample) is not None
    alphabets = [*(_NOT_LATIN if has_words else ()), *(_LATIN if lone or not has_words else ())]
    found = _detect(sample, [*alphabets, *_COMMON])
    if found in _COMMON:
        shares = {name: _common_share(sample, name) for name in _COMMON}
        best = max(shares, key=lambda name: shares[name])
        found = best if shares[best] >= _MOSTLY else _detect(sample, alphabets)
    return _NOT_LATIN.get(found, WESTERN if found in _LATIN else found)


def _detect(sample: bytes, code_pages: list[str]) -> str:
    """Return which of some code pages the detector chooses; the Western one if it chooses none."""
    # It is slow to import, and most files are UTF-8.
    from charset_normalizer import from_bytes  # noqa: PLC0415

    found = from_bytes(sample, cp_isolation=code_pages).best()
    return found.encoding if found and found.encoding in code_pages else "cp1252"


def _common_share(sample: bytes, name: str) -> float:
    """Return the share of common characters among those beyond ASCII, read in a code page."""
    try:
        text = sample.decode(name)
    except UnicodeDecodeError:
        return 0.0
    encoded = [character.encode(name) for character in text if character > "\x7f"]
    common = [each for each in encoded if _COMMON[name].fullmatch(each)]
    return len(common) / max(1, len(encoded))
