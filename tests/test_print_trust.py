"""Printing a check and a verdict at the terminal."""

import json
import math
import unicodedata

import pytest

import trusted
from test_report import HOSTILE
from wherefrom.cli._options import Format
from wherefrom.cli._print_trust import print_trust, print_verdict
from wherefrom.diagnose import SpotCheck, Trust, Verdict

NAN = math.nan


@pytest.fixture
def printed(capsys):
    """What printing says, line by line."""

    def call(trust=None, form=Format.table):
        print_trust(trust or trusted.trust(), form)
        return capsys.readouterr().out

    return call


@pytest.fixture
def verdict(capsys):
    def call(verdict, spot=trusted.SPOT, rows=3):
        print_verdict(verdict, spot, rows)
        return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]

    return call


def squeezed(text):
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_verdict_comes_first_with_its_number_and_reasons(printed):
    lines = squeezed(printed())
    assert lines[0].startswith("answers of influence: weak, 0.42 (chance")
    assert lines[1:3] == ["- one thing", "- another"]


def test_checks_say_their_level_in_a_word_bad_ones_first(printed):
    lines = squeezed(printed())
    start = lines.index("group level check measured")
    levels = ("failure", "warning", "notice", "unknown", "good")
    found = [word for line in lines[start:] for word in line.split()[:2] if word in levels]
    assert found == [
        *("failure", "good"),
        *("warning", "notice", "unknown", "good"),
        *("notice", "good", "good", "good"),
    ]
    assert "integrity failure rows-fit rows-fit measured 0.25 of 40 rows." in lines
    assert "unknown base-model not measured: no pass was made at base" in lines


def test_bad_checks_have_meaning_and_advice_beneath_and_good_ones_do_not(printed):
    lines = squeezed(printed())
    place = next(i for i, line in enumerate(lines) if "near-duplicates measured" in line)
    assert lines[place + 1] == "meaning: near-duplicates means that answers are poor."
    assert lines[place + 2] == "do: near-duplicates wants a second look."
    assert not any(
        "self-retrieval means" in line or "lexical-overlap means" in line for line in lines
    )


def test_answers_have_a_line_each(printed):
    lines = squeezed(printed())
    start = lines.index("query verdict chance gain random words p why")
    assert lines[start + 1 : start + 5] == [
        "query-0 supported 0.91 +0.12 +0.00667 +0.05 0.250 one thing",
        "query-1 cannot tell – – – – – one thing",
        "query-2 not supported 0.07 +0.12 +0.00667 +0.05 0.250 one thing",
        "query-3 weak 0.50 +0.12 +0.00667 +0.05 0.250 one thing",
    ]


def test_json_is_the_check_itself(printed):
    held = json.loads(printed(form=Format.json))
    assert held == trusted.trust().to_json()
    assert Trust.from_json(held).to_json() == held


def test_json_knows_no_nan(printed):
    spot = SpotCheck(NAN, (NAN,), (), NAN)
    unsure = trusted.trust(traces=[trusted.trace("query-0", "weak", NAN, spot=spot)])
    text = printed(unsure, Format.json)
    assert "NaN" not in text
    assert json.loads(text)["traces"][0]["spot"]["gain"] is None


def test_markdown_has_the_answers_alone(printed):
    lines = printed(form=Format.md).splitlines()
    assert lines[0] == "| query | verdict | chance | gain | random | words | p | why |"
    assert (
        lines[2]
        == "| query-0 | supported | 0.91 | +0.12 | +0.00667 | +0.05 | 0.250 | one thing; another |"
    )
    assert len(lines) == 6


def test_what_is_unknown_is_a_dash(printed):
    spot = SpotCheck(NAN, (NAN, 0.25), (None,), None)  # type: ignore[arg-type]
    text = printed(trusted.trust(traces=[trusted.trace("query-0", "weak", NAN, spot=spot)]))
    assert "query-0 weak – – +0.25 – – one thing" in squeezed(text)
    assert "nan" not in text.lower()


def test_no_checks_and_no_answers_print_the_verdict_alone(printed):
    lines = printed(trusted.trust(findings=[], traces=[])).splitlines()
    assert len(lines) == 3


def test_levels_and_words_from_elsewhere_are_printed_as_they_are(printed):
    odd = trusted.trust(
        findings=[trusted.finding("mine", level="dreadful", group="astrology")],
        verdict=Verdict("perhaps", None, ()),  # type: ignore[arg-type]
    )
    lines = squeezed(printed(odd))
    assert lines[0] == "answers of influence: perhaps"
    assert "astrology dreadful mine mine measured 0.25 of 40 rows." in lines


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("form", list(Format))
def test_hostile_text_moves_no_cursor(printed, text, form):
    said = printed(trusted.trust(text), form)
    characters = {c for c in said if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co")}
    assert characters <= {"\n"}


def test_hostile_markup_is_not_obeyed(printed):
    assert "[red]query" in printed(trusted.trust(traces=[trusted.trace("[red]query", "weak", 0.5)]))
    bracketed = trusted.trust(findings=[trusted.finding("weights", measured="[bold]x[/bold]")])
    assert "[bold]x[/bold]" in printed(bracketed)


def test_a_long_text_is_cut(printed):
    assert len(printed(trusted.trust("x" * 100_000))) < 60_000


def test_a_trace_has_its_word_number_spot_check_and_reasons(verdict):
    lines = verdict(trusted.verdict("not supported", 0.07))
    meaning = "chance that retraining without the top 3 rows bears it out"
    assert lines[0] == f"this answer: not supported, 0.07 ({meaning})"
    assert lines[1] == (
        "spot check: one training step on the top 3 rows changes the response by +0.12 nats a token; "
        "random rows +0.00667 (-0.02 to +0.03), rows nearest by words +0.05, p = 0.250"
    )
    assert lines[2:] == ["- one thing", "- another"]


def test_a_trace_without_a_spot_check_says_so(verdict):
    lines = verdict(trusted.verdict("cannot tell", None), None)
    assert lines == [
        "this answer: cannot tell",
        "spot check: not made",
        "- one thing",
        "- another",
    ]


def test_a_spot_check_without_random_rows_has_no_p_value(verdict):
    lines = verdict(trusted.verdict("weak", 0.5), SpotCheck(0.1, (), (), NAN))
    assert lines[1].endswith("+0.1 nats a token; no p-value")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_reasons_stay_on_their_line(capsys, text):
    reasons = ("one\nline" + text, "two")
    print_verdict(Verdict("weak", 0.5, reasons), None, 1)
    said = capsys.readouterr().out
    assert len(said.splitlines()) == 4
    assert {c for c in said if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co")} <= {"\n"}
