"""Features of answers against their definitions, spelled out one query at a time."""

from dataclasses import replace

import numpy as np
import pytest

from checked import seen, subject
from wherefrom.counterfactual import without_random
from wherefrom.diagnose import FEATURES, Answers, SpotCheck, features
from wherefrom.diagnose._random_rows import random_rows

K = 3


@pytest.fixture(scope="module")
def answers():
    one = seen("gradient_cosine")
    rng = np.random.default_rng(1)
    spots = {
        query.id: SpotCheck(
            float(rng.normal()), tuple(rng.normal(size=20)), tuple(rng.normal(size=2)), 0.5
        )
        for query in one.queries[:2]
    }
    return Answers(one, spots)


def tops(scores, q, k=K):
    order = sorted(range(scores.values.shape[1]), key=lambda i: -scores.values[q, i])
    return set(order[:k])


def margin(own, random, lexical, shared):
    spread = np.std(random)
    found = [(own - np.quantile(random, 0.95)) / spread]
    for value, common in zip(lexical, shared, strict=True):
        apart = 1 - common / K
        found.append((own - value) / (spread * max(apart, 0.1) ** 0.5) if apart else -3.0)
    return np.arcsinh(min(found))


def test_a_predicted_margin_is_what_its_definition_says(answers):
    one, found = answers.subject, features(answers)
    # the draws are by id, whatever the order of the rows
    order = np.argsort(np.argsort([row.id for row in one.train]))
    sets = [np.flatnonzero(~line[order]) for line in without_random(12, K, 200)]
    for q in range(6):
        mine = tops(one.scores("gradient_cosine"), q)
        words = [tops(one.scores(m), q) for m in ("bm25", "tfidf")]
        line = one.scores("influence").values[q]
        want = margin(
            line[list(mine)].sum(),
            [line[rows].sum() for rows in sets],
            [line[list(rows)].sum() for rows in words],
            [len(mine & rows) for rows in words],
        )
        assert found[q]["predicted_at_end"] == pytest.approx(want, rel=1e-5)


def test_the_spot_check_counts_where_it_was_made_and_is_unknown_elsewhere(answers):
    one, found = answers.subject, features(answers)
    for q, query in enumerate(one.queries[:2]):
        spot = answers.spots[query.id]
        mine = tops(one.scores("gradient_cosine"), q)
        shared = [len(mine & tops(one.scores(m), q)) for m in ("bm25", "tfidf")]
        want = margin(spot.gain, spot.random, spot.lexical, shared)
        assert found[q]["spot"] == pytest.approx(want)
    assert all(line["spot"] is None for line in found[2:])


def test_lexical_answers_cannot_lie_beyond_lexical_ones():
    one = seen("bm25")
    for line in features(Answers(one)):
        assert line["predicted_at_end"] <= np.arcsinh(-3.0) + 1e-9
        assert line["lexical_overlap"] == 1


def test_states_that_stand_for_a_part_of_the_run_are_looked_at_and_no_other(answers):
    base, final = (
        replace(one, point=replace(one.point, steps=0)) for one in answers.subject.stages
    )
    halves = [
        replace(stage, name=f"step-00000{i}", point=replace(stage.point, steps=i, rate=0.1))
        for i, stage in ((2, base), (4, final))
    ]
    whole = replace(answers.subject, stages=[base, *halves, final])
    seen_alone = [
        features(Answers(replace(answers.subject, stages=[base, half, final]))) for half in halves
    ]
    for one, *each in zip(features(Answers(whole)), *seen_alone, strict=True):
        for name in ("predicted_along", "predicted_by_cosine", "stable"):
            assert one[name] == pytest.approx(np.mean([line[name] for line in each]))
        # the second half's signals are those of the end
        assert each[1]["predicted_along"] == one["predicted_at_end"]
        assert each[1]["stable"] == 1
        assert each[0]["stable"] < 1


def test_nothing_is_known_without_signals():
    (line,) = features(Answers(subject(queries=subject().train[:1])))
    known = {name for name, value in line.items() if value is not None}
    assert line.keys() == FEATURES.keys()
    assert not {name for name in known if name.startswith("predicted")}


def test_random_rows_are_the_same_rows_in_whatever_order_they_come():
    ids = [f"r{i}" for i in range(12)]
    shuffled = list(np.random.default_rng(0).permutation(ids))
    found = [
        [{one[i] for i in np.flatnonzero(line)} for line in random_rows(one, 3, 10)]
        for one in (ids, shuffled)
    ]
    assert found[0] == found[1]
    assert all(len(line) == 3 for line in found[0])
    assert len({frozenset(line) for line in found[0]}) > 5
