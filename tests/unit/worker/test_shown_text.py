"""Texts as they are shown: harmful characters replaced, all scripts kept."""

import pytest

from worker.shown_text import on_one_line, without_harmful


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("  a\r\n\t b\u2028c ", "a b c"),
        ("a\u00a0b\u202fc", "a\u00a0b\u202fc"),
        ("👨\u200d👩 \u06cc\u200c\u062e", "👨\u200d👩 \u06cc\u200c\u062e"),
        ("\x1b[31mred\u202egnp.exe", "�[31mred�gnp.exe"),
        ("half \ud83d", "half �"),
        ("🏴\U000e0067\U000e0062\U000e007f", "🏴\U000e0067\U000e0062\U000e007f"),
    ],
)
def test_on_one_line(text: str, shown: str) -> None:
    assert on_one_line(text) == shown


def test_without_harmful() -> None:
    assert without_harmful("a\u202e\n\u00a0b") == "a\u00a0b"
