"""The first words of the report: each sentence follows from the data."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import trusted
from test_report import HOSTILE, Page, made
from wherefrom.diagnose import Verdict
from wherefrom.methods import REMOVAL
from wherefrom.report import render_report
from wherefrom.report._figures import Figures
from wherefrom.report._plain import plain
from wherefrom.report._shown import Shown


def sentences(data):
    figures = Figures.of(data)
    return [one.text for one in plain(data, figures, Shown.of(data, figures))]


def trust(*verdicts, findings=("weights",), k=2):
    traces = [trusted.trace(f"query-{place}", word, 0.5) for place, word in enumerate(verdicts)]
    held = [trusted.finding(name) for name in findings]
    return trusted.trust(traces=traces, findings=held, method="datainf", k=k)


def with_scores(data, method, values, unit="arbitrary"):
    key = ("sound-1", method)
    scores = replace(data.scores[key], values=values, unit=unit)
    return replace(data, scores=data.scores | {key: scores})


def test_it_names_model_rows_and_questions():
    first = sentences(made(model="a/model", source="train.jsonl"))[0]
    assert first.startswith(
        "The model a/model was fine-tuned on 12 training rows of train.jsonl and asked 6 questions"
    )
    assert sentences(made())[0].startswith("The model was fine-tuned on 12 training rows and")


@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("judged", [False, True])
def test_there_are_three_to_six(checked, judged):
    more = {} if judged else {"evaluation": pd.DataFrame(), "behaviour": {}}
    found = sentences(made(trust=trust("weak") if checked else None, **more))
    assert 3 <= len(found) <= 6
    assert all(text.endswith((".", "!", "?")) for text in found)


def test_the_method_is_the_checked_one_else_the_leader():
    assert (
        "method datainf (sound-1), the one that was checked"
        in sentences(made(trust=trust("weak")))[2]
    )
    assert (
        "method repsim (sound-1), which leads on accuracy with 90\N{NO-BREAK SPACE}%"
        in (sentences(made())[2])
    )
    unjudged = sentences(made(evaluation=pd.DataFrame()))[2]
    assert "the first of 8 that were asked; nothing says that it is the best" in unjudged


def test_it_says_what_a_score_foretells():
    data = made(trust=trust("weak"))
    assert "only puts the rows in order" in sentences(data)[2]
    values = data.scores["sound-1", "datainf"].values
    foretelling = with_scores(data, "datainf", values, REMOVAL)
    assert "how much less likely the model would find its answer" in sentences(foretelling)[2]


def test_the_share_of_trusted_answers_is_counted():
    words = ["supported"] * 3 + ["weak", "not supported", "cannot tell"]
    told = sentences(made(trust=trust(*words)))[3]
    assert told.startswith(
        "Of 6 answers that were checked, 3 (50\N{NO-BREAK SPACE}%) can be trusted, 1 only weakly, "
        "1 not at all and 1 nobody can tell of. Trusted means: training again"
    )
    assert (
        "checked, none can be trusted, 2 only weakly."
        in (sentences(made(trust=trust("weak", "weak")))[3])
    )
    assert "Nobody has checked yet" in sentences(made())[3]
    assert "no single answer was" in sentences(made(trust=trust()))[3]


def test_a_failed_check_leaves_nothing_to_trust():
    data = made(trust=trust("supported", findings=("weights", "rows-fit")))
    found = sentences(data)
    assert "None of the answers can be trusted" in found[3]
    assert "because a check failed: rows-fit." in found[3]
    assert found[-1].startswith("Next, before anything else: rows-fit wants a second look.")


@pytest.mark.parametrize(
    ("known", "command"),
    [
        (None, "wherefrom check"),
        (trust("supported"), "wherefrom prune"),
        (trust("weak"), "wherefrom counterfactual"),
    ],
)
def test_what_to_do_next_follows_from_the_verdicts(known, command):
    page = render_report(made(trust=known))
    assert re.findall(r"<code>(.*?)</code>", page) == [command]


def test_rows_that_stand_out_are_named_with_their_counts():
    data = made(trust=trust("weak"))
    values = np.tile(-np.arange(12.0), (6, 1))
    told = sentences(with_scores(data, "datainf", values))[4]
    assert told.startswith("2 rows are among the first 2 for at least half of the questions")
    assert "train.jsonl:1 (“prompt 0”) (6 of 6) and train.jsonl:2 (“prompt 1”) (6 of 6)" in told
    # each row is on top of one question only
    apart = np.zeros((6, 12))
    apart[np.arange(6), 2 * np.arange(6)] = 2
    apart[np.arange(6), 2 * np.arange(6) + 1] = 1
    assert sentences(with_scores(data, "datainf", apart))[4] == (
        "No row stands out: none is among the first 2 for more than 1 question."
    )
    apart[2, 0] = 3
    told = sentences(with_scores(data, "datainf", apart))[4]
    assert told == "Most often among the first 2: train.jsonl:1 (“prompt 0”) (2 of 6 questions)."
    one = made(trust=trust("weak"), classes=1, queries=1, rows=3)
    told = sentences(with_scores(one, "datainf", np.array([[0.0, 2.0, 1.0]])))[4]
    assert told == "The row that comes first for the question: train.jsonl:2 (“prompt 1”)."


def test_what_chance_would_do_stands_not_out():
    data = made(trust=trust("weak", k=6))
    # every row is on top of three or four of six questions, as by chance
    values = np.array([[(row + 2 * query) % 12 < 6 for row in range(12)] for query in range(6)])
    assert sentences(with_scores(data, "datainf", values))[4].startswith("No row stands out")
    few = made(trust=trust("weak", k=2), classes=3, rows=2, queries=3)
    values = np.array([[(row + 2 * query) % 6 < 2 for row in range(6)] for query in range(9)])
    told = sentences(with_scores(few, "datainf", values))[4]
    assert told == "No row stands out: none is among the first 2 for more than 3 questions."


def test_a_model_that_learned_nothing_is_called_so():
    data = made(behaviour={"before": 0.4, "after": 0.4})
    assert "it has learned nothing that could be traced" in sentences(data)[1]


def test_it_links_to_what_it_says():
    page = Page.of(render_report(made(trust=trust("weak"))))
    assert {"#trust", "#leaderboard", "#samples"} <= page.links


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_as_it_is(text):
    plain_text = re.sub("[\ud800-\udfff]", "", text)
    data = made(text, trust=trusted.trust(plain_text), model=text, source=text)
    quiet = made(trust=trusted.trust(), model="m", source="s")
    assert Page.of(render_report(data)).skeleton == Page.of(render_report(quiet)).skeleton


def test_nothing_can_be_told_without_scores():
    data = made(scores={}, evaluation=pd.DataFrame(), concentration={}, seconds={})
    assert "No method has been asked yet" in sentences(data)[-1]


def test_an_untold_verdict_is_no_support():
    known = trusted.trust(method="datainf", verdict=Verdict("cannot tell", None, ()), findings=[])
    known = replace(known, traces=[trusted.trace("query-0", "cannot tell", None)])
    assert "none can be trusted, 1 nobody can tell of" in sentences(made(trust=known))[3]
