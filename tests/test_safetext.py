"""What may be shown of hostile text."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherefrom.safetext import one_line, printable

# hypothesis leaves surrogates out unless asked for by name
ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()))
HOSTILE = {
    "terminal escape": "\x1b[2J\x1b[31mred",
    "eight-bit escape": "\x9b31mred",
    "title of the window": "\x1b]0;owned\x07",
    "carriage return": "kept\rfaked",
    "backspace": "abc\b\b\bxyz",
    "right-to-left override": "invoice\u202egpj.exe",
    "isolate": "a\u2066b\u2069",
    "zero width": "pass\u200bword",
    "lone surrogate": "broken \ud83d emoji",
    "private use": "\ue000",
    "NUL": "a\x00b",
    "delete": "a\x7fb",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_characters_are_replaced_and_the_rest_stays(text):
    shown = printable(text)
    assert "\ufffd" in shown
    assert len(shown) == len(text)
    assert [c for c in shown if c != "\ufffd"] == [
        c for c in text if unicodedata.category(c)[0] != "C"
    ]
    shown.encode("utf-8")


def test_ordinary_text_is_not_touched():
    text = "Größe: 5 µm,\n\t中文, עברית, é and 🙂."
    assert printable(text) == text


@given(ANY_TEXT)
def test_printable_holds_no_control_character_but_newline_and_tab(text):
    shown = printable(text)
    assert not {c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co")} - set(
        "\n\t"
    )
    shown.encode("utf-8")


@given(ANY_TEXT, st.integers(1, 20))
def test_the_limit_holds_and_a_cut_is_shown(text, limit):
    shown = printable(text, limit)
    assert len(shown) <= limit
    assert shown.endswith("…") or len(text) <= limit


@given(ANY_TEXT, st.integers(2, 40))
def test_one_line_is_one_line(text, limit):
    shown = one_line(text, limit)
    assert len(shown) <= limit
    assert len(shown.splitlines()) <= 1
    assert "\t" not in shown


def test_one_line_joins_white_space_and_cuts():
    assert one_line("  a\n\n b\t c ") == "a b c"
    assert one_line("word " * 50, 10) == "word word…"
