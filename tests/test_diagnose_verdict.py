"""The verdict's rule: chances, words, reasons, and what overrules it."""

import json
import math
from dataclasses import replace

import pytest

from wherefrom.diagnose import (
    FEATURES,
    Finding,
    Rule,
    SpotCheck,
    Term,
    TraceCheck,
    Trust,
    Verdict,
    judge_run,
    judge_trace,
    shipped_rule,
)

RULE = Rule(
    (Term("predicted_along", 1.0, 2.0, 1.5), Term("spot", 0.0, 1.0, 0.5)),
    -0.2,
    0.8,
    0.3,
    0.5,
    "tests",
)
FAILURE = Finding("weights", "integrity", "failure", "the adapter is untrained")
WARNING = Finding("duplicates", "sanity", "warning", "five rows are copies")
GOOD = Finding("template", "integrity", "good", "fits")


def trace(number, word="supported"):
    return TraceCheck("q", "influence", ("a",), Verdict(word, number, ()))


def test_the_chance_is_logistic_in_standardised_features():
    odds = -0.2 + 1.5 * (3.0 - 1.0) / 2.0 + 0.5 * -0.4
    assert RULE.chance({"predicted_along": 3.0, "spot": -0.4}) == pytest.approx(
        1 / (1 + math.exp(-odds))
    )


def test_an_unknown_feature_adds_nothing_and_extremes_no_more_than_three_deviations():
    assert RULE.chance({"predicted_along": 1.0, "spot": None}) == RULE.chance(
        {"predicted_along": 1.0}
    )
    assert RULE.chance({"predicted_along": 1e9}) == RULE.chance({"predicted_along": 7.0})
    assert RULE.chance({"predicted_along": -1e9}) == RULE.chance({"predicted_along": -5.0})


def test_nothing_is_told_from_too_little():
    found = judge_trace({"predicted_along": None, "spot": 2.0}, RULE)
    assert found.word == "cannot tell"
    assert found.number is None
    assert found.reasons[0].startswith("1 of the 2 numbers")
    assert "influence since the first checkpoint" in found.reasons[1]
    assert judge_trace({"predicted_along": 2.0, "spot": None}, RULE).word != "cannot tell"


@pytest.mark.parametrize(
    ("predicted", "word"), [(5.0, "supported"), (1.0, "weak"), (-4.0, "not supported")]
)
def test_words_follow_the_thresholds(predicted, word):
    found = judge_trace({"predicted_along": predicted, "spot": 0.0}, RULE)
    assert found.word == word
    assert 0 < found.number < 1


def test_the_weightiest_reason_comes_first_and_says_its_side():
    found = judge_trace({"predicted_along": 5.0, "spot": -2.0}, RULE)
    assert found.reasons[0].startswith("for: drop without the top rows")
    assert found.reasons[1].startswith("against: gain by a training step")


def test_where_the_end_disagrees_with_earlier_states_one_is_told_to_look_there():
    rule = replace(RULE, terms=(Term("steady", 0.8, 0.2, 1.0),))
    against, speaks_for = (judge_trace({"steady": value}, rule) for value in (0.2, 0.98))
    assert "checkpoints=rate" in against.reasons[0]
    assert "checkpoints" not in speaks_for.reasons[0]


def test_a_run_with_a_failed_check_is_not_supported_whatever_its_answers():
    found = judge_run([GOOD, WARNING, FAILURE], [trace(0.99)], RULE)
    assert found.word == "not supported"
    assert found.number == 0
    assert found.reasons == (
        "weights: the adapter is untrained",
        "duplicates: five rows are copies",
    )


def test_a_run_is_as_good_as_its_answers_on_average():
    found = judge_run([GOOD], [trace(0.9), trace(0.5, "weak"), trace(None, "cannot tell")], RULE)
    assert found.number == pytest.approx(0.7)
    assert found.word == "weak"
    assert (
        found.reasons[0]
        == "answers looked at: 3; supported 1, weak 1, not supported 0, cannot tell 1"
    )
    assert judge_run([], [], RULE).word == "cannot tell"


def test_the_shipped_rule_knows_its_features_and_separates_good_from_bad():
    rule = shipped_rule()
    assert {term.feature for term in rule.terms} <= set(FEATURES)
    assert 0 < rule.unsupported < rule.supported < 1
    good = {t.feature: t.mean + 2 * t.scale * (1 if t.weight > 0 else -1) for t in rule.terms}
    bad = {t.feature: t.mean - 2 * t.scale * (1 if t.weight > 0 else -1) for t in rule.terms}
    assert judge_trace(good).word == "supported"
    assert judge_trace(bad).word == "not supported"


def test_trust_survives_its_file():
    spot = SpotCheck(0.2, (0.1, -0.1), (0.05, 0.0), 1 / 3)
    one = TraceCheck(
        "q", "influence", ("a", "b"), Verdict("weak", 0.5, ("x",), {"spot": None}), spot
    )
    trust = Trust("influence", 2, Verdict("weak", 0.5, ("y",)), [FAILURE], [one], 1.5)
    held = json.loads(json.dumps(trust.to_json(), allow_nan=False))
    assert Trust.from_json(held) == trust
