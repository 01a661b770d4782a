"""A trace's label by retraining: beyond random and lexical removals, in more than half of the seeds."""

import numpy as np
import pytest

from wherefrom.errors import SettingError
from wherefrom.metrics import support


def outcomes(seed=0, seeds=3, queries=9, draws=20):
    rng = np.random.default_rng(seed)
    full = rng.normal(size=(seeds, queries))
    removed = full - rng.normal(1.7, 1, size=(seeds, queries))
    random = full - rng.normal(0, 1, size=(draws, seeds, queries))
    lexical = full - rng.normal(0, 1, size=(2, seeds, queries))
    return full, removed, random, lexical


def test_the_label_is_what_its_definition_says():
    full, removed, random, lexical = outcomes()
    found = support(full, removed, random, lexical)
    for q in range(9):
        beyond = 0
        for s in range(3):
            drop = full[s, q] - removed[s, q]
            chance = np.percentile([full[s, q] - one[s, q] for one in random], 95)
            words = max(full[s, q] - one[s, q] for one in lexical)
            beyond += drop > chance and drop > words
        assert found.supported[q] == (beyond >= 2)
    assert 0 < found.supported.sum() < 9


def test_the_very_rows_of_a_lexical_removal_are_not_supported():
    full, removed, random, lexical = outcomes()
    lexical[1] = removed
    assert not support(full, removed, random, lexical).supported.any()


def test_more_than_half_of_the_seeds_are_needed():
    full, random, lexical = np.zeros((3, 1)), np.full((20, 3, 1), -0.1), np.full((1, 3, 1), -0.1)
    twice, once = np.array([[-1.0], [-1.0], [0.0]]), np.array([[-1.0], [0.0], [0.0]])
    assert support(full, twice, random, lexical).supported.all()
    assert not support(full, once, random, lexical).supported.any()


def test_shapes_that_do_not_fit_are_refused():
    full, removed, random, lexical = outcomes()
    for wrong in (
        (full, removed[:, :2], random, lexical),
        (full, removed, random[:0], lexical),
        (full, removed, random, lexical[:, :2]),
    ):
        with pytest.raises(SettingError, match="shapes"):
            support(*wrong)
