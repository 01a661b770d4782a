"""The verdict's rule: chances, words, reasons, and what overrules it."""

import json
import math

import pytest

from wherefrom.diagnose import (
    FEATURES,
    Finding,
    Rule,
    SpotCheck,
    TraceCheck,
    Trust,
    Verdict,
    judge_run,
    judge_trace,
    shipped_rules,
)

RULE = Rule("predicted_along", 1.0, 2.0, 1.5, -0.2, 0.8, 0.3, "tests")
RULES = (RULE, Rule("spot", 0.0, 1.0, 0.5, 0.1, 0.9, 0.1, "tests"))
FAILURE = Finding("weights", "integrity", "failure", "the adapter is untrained")
WARNING = Finding("duplicates", "sanity", "warning", "five rows are copies")
GOOD = Finding("template", "integrity", "good", "fits")


def trace(number, word="supported"):
    return TraceCheck("q", "influence", ("a",), Verdict(word, number, ()))


def test_the_chance_is_logistic_in_the_standardised_feature():
    odds = -0.2 + 1.5 * (3.0 - 1.0) / 2.0
    assert RULE.chance(3.0) == pytest.approx(1 / (1 + math.exp(-odds)))


def test_extremes_say_no_more_than_three_deviations():
    assert RULE.chance(1e9) == RULE.chance(7.0)
    assert RULE.chance(-1e9) == RULE.chance(-5.0)


def test_the_first_rule_whose_feature_is_known_tells():
    both, second = {"predicted_along": 3.0, "spot": -0.4}, {"predicted_along": None, "spot": -0.4}
    assert judge_trace(both, RULES).number == RULE.chance(3.0)
    assert judge_trace(second, RULES).number == RULES[1].chance(-0.4)


def test_nothing_is_told_from_nothing():
    found = judge_trace({"predicted_along": None, "concentrated": 2.0}, RULES)
    assert found.word == "cannot tell"
    assert found.number is None
    assert "influence along the run" in found.reasons[0]
    assert "training step" in found.reasons[1]


@pytest.mark.parametrize(
    ("predicted", "word"), [(5.0, "supported"), (1.0, "weak"), (-4.0, "not supported")]
)
def test_words_follow_the_thresholds(predicted, word):
    found = judge_trace({"predicted_along": predicted}, RULES)
    assert found.word == word
    assert 0 < found.number < 1


@pytest.mark.parametrize(("predicted", "side"), [(5.0, "for"), (-2.0, "against")])
def test_the_reason_says_its_side_and_what_is_usual(predicted, side):
    (reason,) = judge_trace({"predicted_along": predicted}, RULES).reasons
    assert reason.startswith(f"{side}: drop without the top rows that influence along the run")
    assert reason.endswith("(on average +1.2 standard deviations)")


def test_a_run_is_called_by_the_rule_that_told_its_answers():
    answers = [
        TraceCheck("q", "influence", ("a",), judge_trace({"spot": 3.0}, RULES)) for _ in range(2)
    ]
    assert 0.8 < judge_run([], answers, RULES).number < 0.9
    assert judge_run([], answers, RULES).word == "weak"


def test_a_run_with_a_failed_check_is_not_supported_whatever_its_answers():
    found = judge_run([GOOD, WARNING, FAILURE], [trace(0.99)], RULES)
    assert found.word == "not supported"
    assert found.number == 0
    assert found.reasons == (
        "weights: the adapter is untrained",
        "duplicates: five rows are copies",
    )


def test_a_run_is_as_good_as_its_answers_on_average():
    found = judge_run([GOOD], [trace(0.9), trace(0.5, "weak"), trace(None, "cannot tell")], RULES)
    assert found.number == pytest.approx(0.7)
    assert found.word == "weak"
    assert (
        found.reasons[0]
        == "answers looked at: 3; supported 1, weak 1, not supported 0, cannot tell 1"
    )
    assert judge_run([], [], RULES).word == "cannot tell"


def test_the_shipped_rules_know_their_features_and_separate_good_from_bad():
    rules = shipped_rules()
    assert [rule.feature for rule in rules] == ["predicted_along", "predicted_at_end"]
    for rule in rules:
        assert rule.feature in FEATURES
        assert 0 < rule.unsupported < rule.supported < 1
        assert judge_trace({rule.feature: rule.mean + 2 * rule.scale}).word == "supported"
        assert judge_trace({rule.feature: rule.mean - 2 * rule.scale}).word == "not supported"


def test_trust_survives_its_file():
    spot = SpotCheck(0.2, (0.1, -0.1), (0.05, 0.0), 1 / 3)
    one = TraceCheck(
        "q", "influence", ("a", "b"), Verdict("weak", 0.5, ("x",), {"spot": None}), spot
    )
    trust = Trust("influence", 2, Verdict("weak", 0.5, ("y",)), [FAILURE], [one], 1.5)
    held = json.loads(json.dumps(trust.to_json(), allow_nan=False))
    assert Trust.from_json(held) == trust
