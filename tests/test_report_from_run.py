"""From a run that was held against retraining to its report."""

import math
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

import judged
from test_report_retraining import HEAD, table, told
from wherefrom.errors import DataError, SettingError
from wherefrom.metrics import lds_frame, noise_ceiling
from wherefrom.report import report_run
from wherefrom.report._numbers import score
from wherefrom.run import read_findings, tokens_of


@pytest.fixture(scope="module")
def made_run(tmp_path_factory, tiny_folder):
    """A scored run with retrainings made up by hand."""
    return judged.make_run(tmp_path_factory.mktemp("judged"), tiny_folder)


def kept(run):
    own = [one for (recipe, _), one in run.score().items() if recipe == judged.recipe_of(run).name]
    frame = lds_frame(own, judged.retrainings(run))
    frame.to_parquet(run.path / "counterfactual" / "lds.parquet")
    return frame


def test_a_run_without_results_has_no_findings(made_run):
    (made_run.path / "counterfactual" / "lds.parquet").unlink(missing_ok=True)
    assert read_findings(made_run) is None
    assert HEAD not in report_run(made_run).read_text(encoding="utf-8")


def test_a_report_of_a_run_has_what_retraining_said(made_run, tmp_path):
    frame = kept(made_run)
    found = read_findings(made_run)
    pd.testing.assert_frame_equal(found.frames["lds"], frame)
    assert found.ceiling == noise_ceiling(judged.retrainings(made_run))
    assert math.isnan(found.gap)
    page = report_run(made_run, tmp_path / "report.html").read_text(encoding="utf-8")
    assert {row[0] for row in table(page, "Linear datamodeling score")[1:]} == set(frame["method"])
    assert told(page)


def test_the_ceiling_outlives_a_command_without_subsets(made_run):
    kept(made_run)
    made_run.card.set("counterfactual", {"parts": ["leave-out"], "ceiling": None, "gap": 0.5})
    found = read_findings(made_run)
    assert math.isfinite(found.ceiling.ceiling)
    assert found.gap == 0.5


def test_moments_of_the_behaviour_are_in_the_order_of_time(made_run, tmp_path):
    copied = shutil.copytree(made_run.path, tmp_path / "run")
    type(made_run).open(copied).card.set(
        "behaviour", {"before fine-tuning": 0.25, "after fine-tuning": 0.5}
    )
    # opened anew: on disk the card's keys are sorted
    page = report_run(type(made_run).open(copied)).read_text(encoding="utf-8")
    assert "in 25.0 % before fine-tuning and in 50.0 % after fine-tuning." in page
    assert "It did not rise" not in page


def test_a_damaged_file_is_named(made_run, tmp_path):
    kept(made_run)
    copied = shutil.copytree(made_run.path, tmp_path / "run")
    (copied / "counterfactual" / "lds.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match=r"lds\.parquet: damaged"):
        read_findings(type(made_run).open(copied))


def test_tokens_are_those_of_the_run(made_run, tmp_path):
    page = report_run(made_run, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Why this row: its tokens" in page
    recipe = judged.recipe_of(made_run).name
    (method,) = re.findall(r"beneath the first rows of <bdi>(.*?)</bdi>", page)
    scores = made_run.score()[recipe, method]
    query = made_run.queries[0]
    (one, *_) = tokens_of(made_run, query, [scores.top(1).ids[0, 0]], method)
    strongest = max((t for t in one.train if t.value), key=lambda token: abs(token.value))
    assert f'title="{score(strongest.value)}"' in page


def test_tokens_can_be_left_out(made_run, tmp_path, cli):
    done = cli("report", made_run.path, "--out", tmp_path / "report.html", "--no-tokens")
    assert done.code == 0, done.err
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "--no-tokens was given" in page
    assert "Why this row" not in page


def test_why_there_are_no_tokens_is_told(made_run, tmp_path, monkeypatch):
    def refuse(*_):
        raise SettingError("the index is of another day.")

    monkeypatch.setattr("wherefrom.report._tokens_of_run.tokens_of", refuse)
    page = report_run(made_run, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "No score was taken apart over tokens." in page
    assert "the index is of another day" in page
    assert "bm25: it does not compare gradients" in page


def test_a_report_names_no_folder_of_its_writer(made_run, tmp_path):
    page = report_run(made_run, tmp_path / "report.html").read_text(encoding="utf-8")
    summary = page[: page.index("<h3>In numbers</h3>")]
    assert str(made_run.path.parent) not in summary
    assert f"The model {Path(made_run.config.model).name} was" in summary
