"""Sanity checks on subjects made by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

import drawn
from checked import FakeProbe, measure, seen, stages, subject
from tiny import tiny_rows
from wherefrom.data import Example
from wherefrom.diagnose import Stage, _duplicates
from wherefrom.methods import parse_method, score_all
from wherefrom.scores import Scores
from wherefrom.signals import Side, gradient_name


def sentence(seed, words=14):
    rng = np.random.default_rng(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    return " ".join("".join(rng.choice(list(letters), rng.integers(3, 8))) for _ in range(words))


def texts(n):
    return [Example.of(f"r{i}", sentence(2 * i), sentence(2 * i + 1)) for i in range(n)]


def scores(values, method="bm25"):
    queries, rows = np.shape(values)
    ids = tuple(f"q{i}" for i in range(queries)), tuple(f"r{i}" for i in range(rows))
    return Scores(np.asarray(values), *ids, method)


def known(values, method="influence", rows=None, **changes):
    """A subject whose method's scores are known."""
    held = scores(values, method)
    rows = texts(len(held.train_ids)) if rows is None else rows
    queries = [Example.of(id, sentence(1000 + i), "Yes.") for i, id in enumerate(held.query_ids)]
    return subject(rows, queries, method=method, known={method: held}, **changes)


def top(values, k):
    return [set(np.argsort(-line)[:k].tolist()) for line in values]


def overlap(one, other, k):
    pairs = zip(top(one, k), top(other, k), strict=True)
    return np.mean([len(a & b) / k for a, b in pairs])


# duplicates


def test_exact_copies_are_named_whatever_the_order():
    rows = texts(30)
    rows += [replace(rows[4], id="copy-1"), replace(rows[4], id="copy-2")]
    found = measure("duplicates", subject(rows))
    assert found.level == "warning"
    assert found.values["exact"] == [["copy-1", "copy-2", "r4"]]
    assert found.values["copies"] == 2
    assert "copy-1, copy-2, r4" in found.measured
    assert measure("duplicates", subject(rows[::-1])) == found


def test_one_copy_among_many_is_a_notice_and_more_copies_than_places_a_warning():
    rows = texts(100)
    one = [*rows, replace(rows[0], id="again")]
    assert measure("duplicates", subject(one)).level == "notice"
    assert measure("duplicates", subject(one, k=1)).level == "warning"


def test_near_duplicates_are_those_of_dense_cosines(monkeypatch):
    from sklearn.feature_extraction.text import TfidfVectorizer

    monkeypatch.setattr(_duplicates, "_BLOCK", 64)
    rows = texts(150)
    for i in range(0, 60, 2):
        # every step changes more of the text
        words = rows[i].response.split()
        words[: i // 10] = sentence(5000 + i, i // 10).split() if i >= 10 else []
        changed = " ".join(words) + ("." if i < 10 else "")
        rows[149 - i] = Example.of(f"near{i}", rows[i].prompt, changed)
    found = measure("duplicates", subject(rows))
    plain = [f"{row.prompt}\n{row.response}" for row in rows]
    vectors = TfidfVectorizer(analyzer="char", ngram_range=(3, 5)).fit_transform(plain).toarray()
    close = np.argwhere(np.triu(vectors @ vectors.T >= 0.95, 1))
    want = sorted(sorted((rows[a].id, rows[b].id)) for a, b in close)
    assert 3 < len(want) < 28
    assert sorted(found.values["near"]) == want
    assert found.values["near_rows"] == 2 * len(want)


def test_near_duplicates_are_not_looked_for_among_very_many_rows(monkeypatch):
    monkeypatch.setattr(_duplicates, "_MOST", 10)
    rows = [*texts(10), Example.of("n", sentence(0) + ".", sentence(1))]
    found = measure("duplicates", subject(rows))
    assert (found.values["near"], found.values["threshold"]) == ([], None)
    assert "exact" in found.measured
    assert measure("duplicates", subject(rows[1:])).values["threshold"] == 0.95


def test_near_duplicates_of_near_duplicates_are_one_group():
    base = sentence(1, 60)
    rows = texts(20) + [Example.of(f"n{i}", base, "yes" + "!" * i) for i in range(4)]
    found = measure("duplicates", subject(rows))
    assert found.values["near"] == [["n0", "n1", "n2", "n3"]]
    assert found.level == "notice"


def test_rows_that_contradict_each_other_are_noticed():
    rows = [*texts(20), Example.of("no", sentence(0), "Something else entirely, and shorter.")]
    found = measure("duplicates", subject(rows))
    assert found.values["contradicting"] == [["no", "r0"]]
    assert found.level == "notice"


def test_different_rows_are_no_duplicates():
    assert measure("duplicates", subject(texts(40))).level == "good"


# outliers


def test_a_giant_gradient_is_named_with_its_share():
    one = seen(n=31)
    sources = one.final.point.sources
    for block in drawn.BLOCKS:
        sources[Side.TRAIN].read(gradient_name(block.name))[7] *= 1e3
    found = measure("outliers", one)
    assert found.level == "warning"
    assert found.values["giants"] == ["r7"]
    assert "giant gradient in 1 row: r7" in found.measured
    norms = np.sqrt(sum((t**2).sum(1) for t, _ in drawn.dense(one.final.point)))
    assert found.values["largest_ratio"] == pytest.approx(norms[7] / np.median(norms))
    assert found.values["giants_share_of_squared_norm"] == pytest.approx(
        norms[7] ** 2 / (norms**2).sum()
    )


def test_rows_of_ordinary_norms_are_no_outliers():
    found = measure("outliers", seen(n=30))
    assert found.values["giants"] == []
    assert "giant" not in found.measured


def test_a_row_that_is_first_for_every_query_is_named():
    values = np.random.default_rng(0).normal(size=(8, 20))
    assert measure("outliers", known(values)).level == "good"
    values[:, 11] = 9
    found = measure("outliers", known(values))
    assert found.level == "warning"
    assert found.values["most_often_first"] == "r11"
    assert found.values["first_share"] == 1.0


def test_scores_that_follow_length_are_told_by_spearman():
    rng = np.random.default_rng(0)
    rows = [Example.of(f"r{i}", f"Question {i}?", sentence(i, 1 + i)) for i in range(20)]
    lengths = np.array([row.loss_mask.sum() for row in subject(rows).train_tokens])
    values = rng.choice([-1, 1], (6, 20)) * (lengths + rng.normal(size=(6, 20)) * 30)
    found = measure("outliers", known(values, rows=rows))
    want = np.mean([spearmanr(np.abs(line), lengths).statistic for line in values])
    assert found.values["spearman_with_length"] == pytest.approx(want)
    even = measure("outliers", known(np.abs(values) * 0 + lengths, rows=rows))
    assert even.values["spearman_with_length"] == pytest.approx(1.0)
    assert even.level == "warning"


def test_scores_that_follow_the_gradients_norm_are_told_by_spearman():
    one = seen("gradient_dot", n=30)
    values = one.scores("gradient_dot").values
    norms = np.sqrt(sum((t**2).sum(1) for t, _ in drawn.dense(one.final.point)))
    found = measure("outliers", one)
    want = np.mean([spearmanr(np.abs(line), norms).statistic for line in values])
    assert found.values["spearman_with_norm"] == pytest.approx(want, abs=1e-6)


def test_without_scores_or_gradients_there_are_no_outliers_to_tell():
    assert measure("outliers", subject()).level == "unknown"


# base-model, randomised, families, lexical


def test_base_model_agreement_is_that_of_the_two_states():
    one = seen(k=3)
    found = measure("base-model", one)
    final, base = (one.scores("gradient_cosine", at).values for at in ("final", "base"))
    want = np.mean([spearmanr(a, b).statistic for a, b in zip(final, base, strict=True)])
    ours = found.values["gradient_cosine"]
    assert ours["spearman"] == pytest.approx(want, abs=1e-3)
    assert ours["top_overlap"] == pytest.approx(overlap(final, base, 3), abs=1e-3)
    assert ours["chance"] == 0.25
    assert {"influence", "for_value", "repsim"} == found.values["others"].keys()
    assert found.level == "good"


def test_a_method_that_says_the_same_about_base_retrieves():
    held = seen().final
    one = seen(stages=[Stage("base", 0, {}, held.point), held])
    found = measure("base-model", one)
    assert found.level == "warning"
    assert "retrieves" in found.meaning
    assert found.values["gradient_cosine"]["spearman"] == 1.0


def test_a_search_for_words_retrieves():
    assert measure("base-model", seen("bm25")).level == "warning"


def test_without_a_pass_at_base_nothing_is_said_of_it():
    found = measure("base-model", seen(stages=[seen().final]))
    assert found.level == "unknown"
    assert "before fine-tuning" in found.measured


def test_randomised_scores_are_held_against_the_models():
    one = seen()
    values = one.scores("gradient_cosine").values
    other = values + np.random.default_rng(3).normal(size=values.shape) * values.std()
    ids = tuple(q.id for q in one.queries), tuple(t.id for t in one.train)
    found = measure(
        "randomised",
        replace(one, randomised={"gradient_cosine": Scores(other, *ids, "gradient_cosine")}),
    )
    want = np.mean([spearmanr(a, b).statistic for a, b in zip(values, other, strict=True)])
    assert found.values["gradient_cosine"]["spearman"] == pytest.approx(want, abs=1e-3)
    same = {"gradient_cosine": Scores(values, *ids, "gradient_cosine")}
    assert measure("randomised", replace(one, randomised=same)).level == "warning"
    assert measure("randomised", one).level == "unknown"


def test_families_agree_or_one_stands_alone():
    one = seen(n=40)
    found = measure("families", one)
    pairs = {tuple(sorted(pair["methods"])): pair for pair in found.values["pairs"]}
    assert len(pairs) == 10
    cosine, influence = (one.scores(name).values for name in ("gradient_cosine", "influence"))
    assert pairs["gradient_cosine", "influence"]["top_overlap"] == pytest.approx(
        overlap(cosine, influence, 3), abs=1e-3
    )
    assert found.level == "good"
    # last where the others have it first
    own = -sum(
        one.scores(m).values for m in ("influence", "gradient_cosine", "for_value", "repsim")
    )
    ids = tuple(q.id for q in one.queries), tuple(t.id for t in one.train)
    odd = replace(one, method="logra", known={"logra": Scores(own, *ids, "logra")})
    alone = measure("families", odd)
    assert alone.level == "notice"
    assert "stands alone" in alone.meaning


def test_an_answer_that_a_word_search_gives_is_noticed():
    rows = texts(20)
    queries = [Example.of(f"q{i}", f"the {rows[i].prompt}", "and it is") for i in range(6)]
    held = subject(rows, queries).scores("bm25")
    same = replace(held, method="influence")
    one = subject(rows, queries, method="influence", known={"influence": same}, k=1)
    found = measure("lexical", one)
    assert found.level == "notice"
    assert found.values["top_overlap"] == 1.0
    # of the query's own words all are the row's; "the", "and", "it" and "is" are not content
    assert found.values["shared_words"] == 1.0
    assert found.values["shared_words_any_row"] == pytest.approx(1 / 20, abs=0.02)
    other = replace(same, values=-held.values)
    assert measure("lexical", replace(one, known={"influence": other})).level == "good"
    assert measure("lexical", replace(one, method="bm25")).level == "unknown"


# self-retrieval, projection, precision


def test_rows_find_themselves_by_cosine():
    one = seen(n=60)
    found = measure("self-retrieval", one)
    assert found.level == "good"
    assert found.values == {
        "method": "gradient_cosine",
        "asked": 50,
        "first_share": 1.0,
        "mean_rank": 1.0,
        "not_first": [],
    }


def test_self_retrieval_by_the_dot_product_is_that_of_the_gram_matrix():
    one = seen("gradient_dot", n=40)
    for block in drawn.BLOCKS:
        held = one.final.point.sources[Side.TRAIN].read(gradient_name(block.name))
        held *= np.exp(np.random.default_rng(1).normal(size=40) * 2).reshape(
            40, *[1] * (held.ndim - 1)
        )
    gram = sum(t @ t.T for t, _ in drawn.dense(one.final.point))
    ranks = 1 + (gram > np.diagonal(gram)[:, None]).sum(1)
    assert 0 < (ranks == 1).mean() < 0.9
    found = measure("self-retrieval", one)
    assert found.values["first_share"] == pytest.approx((ranks == 1).mean())
    assert found.values["mean_rank"] == pytest.approx(ranks.mean())
    assert found.level != "good"
    assert set(found.values["not_first"]) == {f"r{i}" for i in np.flatnonzero(ranks > 1)}


def test_a_copy_is_as_good_as_the_row_itself():
    rows = tiny_rows(10)
    rows += [replace(row, id=f"copy-{row.id}") for row in rows]
    values = measure("self-retrieval", subject(rows, rows[:1], method="tfidf")).values
    assert values["first_share"] == 1.0


@pytest.mark.parametrize("method", ["random", "gradient_dot(minus_base=true)"])
def test_methods_that_need_not_find_a_row_by_itself_are_not_asked(method):
    assert measure("self-retrieval", seen(method)).level == "unknown"


def test_a_projection_is_drawn_anew():
    one = seen("gradient_dot(project=2)", n=40, k=5)
    found = measure("projection", one)
    draws = [draw["top_overlap"] for draw in found.values["draws"]]
    assert len(draws) == 3
    # two dimensions of six say little, and no two draws the same
    assert max(draws) < 1
    assert found.level == "warning"
    assert "projection" in found.meaning
    # an oracle: the same gradients under blocks of another name
    renamed = [replace(b, name=f"draw1.{b.name}") for b in drawn.BLOCKS]
    point = one.final.point
    sources = {}
    for side in (Side.TRAIN, Side.QUERY):
        old = point.sources[side]
        sources[side] = drawn.signals(old.ids, 0, blocks=renamed)
        for new, was in zip(renamed, drawn.BLOCKS, strict=True):
            sources[side].read(gradient_name(new.name))[:] = old.read(gradient_name(was.name))
    evidence = replace(one.evidence(), final=replace(point, sources=sources))
    other = score_all([parse_method(one.method)], evidence).scores[0]
    own = one.scores(one.method)
    assert draws[0] == pytest.approx(overlap(own.values, other.values, 5), abs=1e-3)


@pytest.mark.parametrize("method", ["logra", "gradient_dot(project=6)"])
def test_where_nothing_is_long_enough_to_project_nothing_is_measured(method):
    found = measure("projection", seen(method))
    assert found.level == "unknown"
    assert "nothing is projected" in found.measured


def test_trackstar_is_drawn_anew_with_its_moments():
    found = measure("projection", seen("trackstar(dimension=2)", n=40))
    assert found.values["dimension"] == 2
    assert 0 < found.values["draws"][0]["spearman"] < 1


def test_methods_that_do_not_project_are_not_asked():
    assert measure("projection", seen("influence")).level == "unknown"


def gradients(noise, fill=None):
    def ask(rows, precision):
        found = {}
        for name, size in (("a", 50), ("b", 80)):
            exact = np.stack([np.random.default_rng([row, size]).normal(size=size) for row in rows])
            if precision == "bfloat16":
                exact = exact + noise.get(name, 0) * np.random.default_rng(9).normal(
                    size=exact.shape
                )
                if fill is not None:
                    exact[0, 0] = fill
            found[name] = exact
        return found

    return FakeProbe(grads=ask)


def test_half_precision_is_held_against_full():
    one = subject(probe=gradients({"a": 0.01, "b": 0.01}))
    found = measure("precision", one)
    assert found.level == "good"
    assert found.values["worst_row_cosine"] > 0.999
    rows = one.probe.asked[0][0]
    assert len(rows) == 8
    assert one.probe.asked == [(rows, "float32"), (rows, "bfloat16")]


@pytest.mark.parametrize(("used", "level"), [("bfloat16", "warning"), ("float32", "notice")])
def test_a_block_that_rounding_turns_is_named(used, level):
    held = seen(probe=gradients({"b": 2.0}))
    train = held.final.point.sources[Side.TRAIN]
    train.identity["precision"] = used
    found = measure("precision", held)
    assert found.level == level
    assert found.values["worst_block"] == "b"
    assert found.values["blocks"]["a"] == pytest.approx(1.0)
    # of noise twice as large as what it falls on the cosine is 1/√5
    assert found.values["blocks"]["b"] == pytest.approx(1 / np.sqrt(5), abs=0.1)


def test_gradients_that_overflow_are_named():
    found = measure("precision", subject(probe=gradients({}, fill=np.inf)))
    assert found.values["not_finite"] == ["a", "b"]
    assert found.level == "notice"


# all of them

NAMES = (
    "base-model",
    "duplicates",
    "families",
    "lexical",
    "outliers",
    "randomised",
    "self-retrieval",
)


def test_values_are_json_and_texts_are_sentences():
    one = seen(probe=gradients({"a": 0.01}), n=20)
    for name in (*NAMES, "precision", "projection"):
        found = measure(name, one)
        assert found.group == "sanity"
        json.dumps(found.values, allow_nan=False)
        for text in (found.measured, found.normal, found.meaning, found.advice):
            assert "  " not in text
            assert text == "" or text[-1] == "." or found.level == "unknown"


def test_hostile_ids_do_not_reach_the_text():
    rows = [replace(row, id=f"{row.id}\x1b[31m\u202e\n{'x' * 200}") for row in texts(20)]
    rows += [replace(rows[0], id="\x1b[2J")]
    values = np.zeros((6, 21))
    values[:, 3] = 1
    ids = tuple(f"q{i}" for i in range(6))
    held = Scores(values, ids, tuple(row.id for row in rows), "influence")
    queries = [Example.of(id, sentence(i), "Yes.") for i, id in enumerate(ids)]
    one = subject(rows, queries, method="influence", known={"influence": held}, stages=stages())
    for name in ("duplicates", "outliers"):
        text = measure(name, one).measured
        assert not {"\x1b", "\u202e", "\n"} & set(text)
        assert "x" * 60 not in text


def test_without_queries_nothing_that_needs_them_is_measured():
    for name in ("base-model", "families", "lexical", "randomised", "projection"):
        found = measure(name, subject(method="influence"))
        assert found.level == "unknown"
        assert "no queries" in found.measured
