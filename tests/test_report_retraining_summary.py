"""What the report's summary says of retraining, and what it leaves unsaid."""

from dataclasses import replace

import numpy as np

from test_report import made
from test_report_retraining import METHODS, held, lds, matched, report, told
from wherefrom.metrics import Retrainings, lds_frame, noise_ceiling
from wherefrom.report import render_report


def foretold(strengths, queries=8, subsets=60):
    """A report whose methods know the truth as far as their strength says, and real retrainings."""
    rng = np.random.default_rng(0)
    data = made(methods=METHODS, recipes=("sound-1",), classes=4, rows=6, queries=queries // 4)
    truth = rng.normal(size=(len(data.queries), len(data.train)))
    ids = tuple(q.id for q in data.queries), tuple(row.id for row in data.train)
    kept = rng.random((subsets, len(data.train))) < 0.5
    outcomes = kept @ truth.T + 0.5 * rng.normal(size=(2, subsets, len(data.queries)))
    retrainings = Retrainings(kept, outcomes, *ids)
    scores = {
        ("sound-1", method): replace(
            data.scores["sound-1", method],
            values=strength * truth + (1 - abs(strength)) * rng.normal(size=truth.shape),
        )
        for method, strength in zip(METHODS, strengths, strict=True)
    }
    retraining = held(
        frames={"lds": lds_frame(scores.values(), retrainings)},
        ceiling=noise_ceiling(retrainings),
        retrainings=retrainings,
    )
    return replace(data, scores=scores, evaluation=matched(), retraining=retraining)


def test_summary_names_the_leader_and_where_class_match_leads():
    said = told(render_report(foretold((0.25, 0.98, 0.5, 0.3))))
    assert said.startswith("gradient-cosine has the highest linear datamodeling score")
    assert "The next is datainf" in said
    assert "the difference is not within chance" in said
    assert "repsim, which has the highest class match (90.0 % average precision), stands at" in said
    assert "matching classes best is not foretelling retraining best." in said


def test_summary_says_what_is_not_settled():
    said = told(render_report(foretold((0.80, 0.81, 0.0, 0.0))))
    assert "these retrainings do not settle which is better" in said
    assert "is not within chance" not in said
    assert said.startswith("gradient-cosine has")
    assert "do not tell the two apart" in said


def test_summary_does_not_praise_what_may_be_chance():
    weak = {"lds": lds(("repsim", 0.1, -0.1, 0.3), ("random", 0.0, -0.2, 0.2))}
    said = told(report(retraining=held(frames=weak)))
    assert said.endswith("The interval holds 0: no method is shown to foretell retraining.")
    shown = told(report())
    assert "The next is datainf with 0.300." in shown, "no difference without its own interval"
    assert "not shown to foretell retraining" in shown
    assert shown.count("repsim") == 1


def test_summary_says_when_one_method_leads_on_both():
    part = {"lds": lds(("repsim", 0.7, 0.5, 0.9), ("random", 0.0, -0.2, 0.2))}
    said = told(report(retraining=held(frames=part)))
    assert said.endswith("repsim also has the highest class match (90.0 % average precision).")
