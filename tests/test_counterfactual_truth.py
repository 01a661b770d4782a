"""On a tiny model: what retraining says can be learned from other retrainings, not by chance."""

import numpy as np
import pytest

from tiny import save_tiny, tiny_rows
from wherefrom.counterfactual import (
    Asked,
    OutcomeCache,
    Retrainer,
    TrainingPlan,
    Workshop,
    leave_one_out,
    retrain_on_subsets,
    unroll,
)
from wherefrom.data import Renderer, get_recipe
from wherefrom.metrics import lds, lds_frame, noise_ceiling, rank_agreement, ridge_datamodel
from wherefrom.models import FinetuneSettings, load_model, prepare
from wherefrom.scores import Scores

ROWS, FITTED, JUDGED = 12, 150, 50


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("truth")
    base = save_tiny(folder / "base")
    tokenizer = load_model(str(base), device="cpu").tokenizer
    rows = Renderer(tokenizer, get_recipe("sound-1")).render_all(tiny_rows(ROWS))
    settings = FinetuneSettings(
        epochs=3, batch_size=4, learning_rate=5e-3, precision="float32", dropout=0.05
    )
    retrainer = Retrainer(str(base), rows, rows[:5], settings, together=32)
    workshop = Workshop(retrainer, OutcomeCache(folder / "cache"))
    ids = tuple(row.id for row in rows)
    return Asked(workshop, (0, 1), "log_probability", ids[:5], ids)


@pytest.fixture(scope="module")
def retrainings(asked):
    return retrain_on_subsets(asked, FITTED + JUDGED, 0.5)


def test_a_datamodel_of_other_retrainings_approaches_the_ceiling(retrainings):
    fitted, judged = retrainings.split(FITTED)
    ceiling = noise_ceiling(judged)
    found = lds(ridge_datamodel(fitted), judged).mean()
    assert ceiling.ceiling > 0.8
    assert ceiling.ceiling - 0.15 < found <= ceiling.ceiling + 0.1


def test_random_scores_foretell_nothing_of_it(asked, retrainings):
    judged = retrainings.split(FITTED)[1]
    covered = 0
    for seed in range(8):
        values = np.random.default_rng(seed).normal(size=(5, ROWS))
        line = lds_frame(Scores(values, asked.query_ids, asked.train_ids, "random"), judged).iloc[0]
        covered += line["low"] <= 0 <= line["high"]
    assert covered >= 7


def test_the_exact_derivative_foretells_what_leaving_rows_out_does(asked):
    retrainer = asked.workshop.retrainer
    settings = retrainer.settings
    prepared = prepare(retrainer.spec, settings)
    plan = TrainingPlan.of(prepared, ROWS, settings)
    found = unroll(prepared, retrainer.rows, retrainer.queries, settings, plan)
    scores = Scores(found.values, asked.query_ids, asked.train_ids, "unrolled")
    alone = Asked(asked.workshop, (0,), asked.outcome, asked.query_ids, asked.train_ids)
    assert found.outcomes == pytest.approx(alone.full()[0], abs=1e-3)
    assert rank_agreement(scores, leave_one_out(alone)).mean() > 0.8
