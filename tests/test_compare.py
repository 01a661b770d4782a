"""Another tool's ranking beside ours, and which side retraining supports."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from planted import PLANTED, planted_rows, write_planted
from tiny import tiny_rows
from wherefrom.answers import Effect, compared, in_order_of
from wherefrom.data import Example, read_examples
from wherefrom.errors import DataError, IdentityError, SettingError
from wherefrom.run import Run, compare, read_other
from wherefrom.scores import Scores, write_scores

K = 4


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_folder, cli):
    """A LoRA run with planted rows, quick to train again; what it was asked is cached in it."""
    folder = tmp_path_factory.mktemp("compared")
    write_planted(folder)
    done = cli(
        *("finetune", "--data", folder / "train.jsonl", "--model", tiny_folder),
        *("--out", folder / "run", "--epochs", 8, "--batch-size", 8, "--learning-rate", 0.01),
        *("--targets", "all-linear", "--rank", 4, "--methods", "influence,bm25"),
    )
    assert done.code == 0, done.err
    assert cli("index", folder / "run").code == 0
    return folder


@pytest.fixture
def run(made):
    return Run.open(made / "run")


@pytest.fixture
def queries(made):
    return read_examples(made / "bad.jsonl")


def theirs(run, queries, guilty=False, seed=0):
    """Scores that point at rows that have nothing to do with it, or at the planted ones."""
    ids = tuple(row.id for row in run.train)
    values = np.random.default_rng(seed).uniform(0, 0.5, (len(queries), len(ids)))
    wanted = PLANTED if guilty else [id for id in ids if id not in PLANTED][:K]
    values[:, [ids.index(id) for id in wanted]] += 1
    return Scores(values, tuple(q.id for q in queries), ids, "their-tool")


# Side by side


def pair(queries=3, rows=10, seed=0):
    draw = np.random.default_rng(seed)
    ids = tuple(f"q{i}" for i in range(queries)), tuple(f"r{i}" for i in range(rows))
    return [Scores(draw.normal(size=(queries, rows)), *ids, name) for name in ("ours", "theirs")]


def test_agreement_and_ranks_are_those_of_plain_sorting():
    ours, other = pair()
    asked = [Example.of(f"q{i}", "p", "r") for i in range(3)]
    turn = np.random.default_rng(1).permutation(10)
    turned = Scores(
        other.values[::-1][:, turn],
        other.query_ids[::-1],
        tuple(other.train_ids[i] for i in turn),
        "theirs",
    )
    found = compared(asked, ours, turned, 3)
    for q, one in enumerate(found.queries):
        assert one.spearman == pytest.approx(spearmanr(ours.values[q], other.values[q])[0])
        first = [np.argsort(-side.values[q])[:3].tolist() for side in (ours, other)]
        assert [row.number - 1 for row in one.ours] == first[0]
        assert [row.number - 1 for row in one.theirs] == first[1]
        assert one.overlap == pytest.approx(len(set(first[0]) & set(first[1])) / 3)
        assert one.expected == pytest.approx(0.3)
        for placed in one.ours:
            place = placed.number - 1
            assert placed.score == pytest.approx(ours.values[q, place])
            assert placed.elsewhere == 1 + (other.values[q] > other.values[q, place]).sum()
    assert found.summary() is None


def test_scores_of_other_rows_or_queries_are_refused():
    ours, other = pair()
    fewer = Scores(other.values[:, :9], other.query_ids, other.train_ids[:9], "theirs")
    with pytest.raises(IdentityError, match=r"other training row ids \('r9'\)"):
        in_order_of(fewer, ours)
    with pytest.raises(IdentityError, match="other query ids"):
        in_order_of(replace(other, query_ids=("a", "b", "c")), ours)
    more = pair(rows=11)[1]
    with pytest.raises(IdentityError, match="11 in place of 10"):
        in_order_of(more, ours)
    with pytest.raises(SettingError, match="1 to that many"):
        compared([], ours, other, 11)


@pytest.mark.parametrize(
    ("ours", "other", "word", "says"),
    [
        (1.0, 0.1, "ours", "supports A and not B"),
        (0.1, 1.0, "theirs", "supports B and not A"),
        (1.0, 1.5, "both", "supports both A and B. The rows of B do more."),
        (0.1, -1.0, "neither", "supports neither A nor B"),
    ],
)
def test_the_sentence_says_which_side_is_supported(ours, other, word, says):
    effect = Effect("retraining", ours, other, 0.1, tuple(np.linspace(0, 0.5, 20)))
    assert effect.supported == word
    first, second = pair(1)
    found = compared(
        [Example.of("q0", "p", "r")],
        replace(first, method="A"),
        replace(second, method="B"),
        3,
        [effect],
    )
    told = found.sentence(found.queries[0])
    assert says in told
    assert "words" not in told
    assert found.to_json()["queries"][0]["effect"]["supported"] == word


def test_a_side_is_supported_when_it_does_more_than_95_percent_of_the_random_sets():
    random = tuple(np.arange(1, 21) / 20)
    effect = Effect("retraining", 1.01, 1.0, None, random)
    assert effect.p_value(1.01) == pytest.approx(1 / 21)
    assert effect.p_value(1.0) == pytest.approx(2 / 21)
    assert effect.supported == "ours"


def test_rows_nearest_by_words_that_do_as_much_are_mentioned():
    effect = Effect("retraining", 1.0, 0.1, 1.0, tuple(np.linspace(0, 0.5, 20)))
    ours, other = pair(1)
    found = compared([Example.of("q0", "p", "r")], ours, other, 3, [effect])
    assert "nearest by words do more than random ones too" in found.sentence(found.queries[0])


# By retraining


def test_retraining_supports_the_side_that_names_the_planted_rows(run, queries):
    other = theirs(run, queries)
    found = compare(run, queries, other, k=K)
    assert found.why_not == ""
    for one in found.queries:
        assert {row.row for row in one.ours} == set(PLANTED)
        assert one.effect.how == "retraining"
        assert one.effect.supported == "ours"
        assert "Retraining supports influence and not their-tool" in found.sentence(one)
    told = found.summary()
    assert (told["supported_ours"], told["supported_theirs"]) == (3, 0)
    assert told["ours"] > told["theirs"]


def test_it_can_support_the_other_side(run, queries):
    ours = theirs(run, queries, seed=3)
    right = theirs(run, queries, guilty=True)
    answers = run.trace_all(queries, ["influence"])
    wrong = [
        replace(
            answer,
            scores=(
                Scores(ours.values[i : i + 1], (answer.query.id,), ours.train_ids, "our-guess"),
            ),
        )
        for i, answer in enumerate(answers)
    ]
    found = compare(run, wrong, right, k=K)
    assert found.summary()["supported_theirs"] == 3
    assert found.summary()["supported_ours"] == 0
    assert "supports their-tool and not our-guess" in found.sentence(found.queries[0])


def test_drops_are_those_of_models_trained_without_the_rows(run, queries):
    from wherefrom.run._ask import ask_queries

    other = theirs(run, queries)
    found = compare(run, queries, other, k=K, draws=19)
    asked = ask_queries(run, queries, "log_probability", [run.config.finetune.seed])
    ids = [row.id for row in run.train]
    for q, one in enumerate(found.queries):
        kept = np.ones((3, len(ids)), dtype=bool)
        kept[1, [ids.index(row.row) for row in one.ours]] = False
        kept[2, [ids.index(row.row) for row in one.theirs]] = False
        full, ours, their = asked.outcomes(kept, "again")[0, :, q]
        assert one.effect.ours == pytest.approx(full - ours, abs=1e-6)
        assert one.effect.theirs == pytest.approx(full - their, abs=1e-6)
        assert len(one.effect.random) == 19
    assert asked.workshop.trained == 0


def test_nothing_is_trained_twice(run, queries):
    other = theirs(run, queries)
    first = compare(run, queries, other, k=K)
    cache = run.path / "counterfactual" / "cache"
    stamps = {p: p.stat().st_mtime_ns for p in cache.glob("*.json")}
    assert stamps
    assert compare(run, queries, other, k=K).to_json() == first.to_json()
    assert {p: p.stat().st_mtime_ns for p in cache.glob("*.json")} == stamps


def test_scores_like_ours_are_told_apart_and_tie(run, queries):
    answers = run.trace_all(queries[:1], ["influence"])
    found = compare(run, answers, answers[0].scores[0], k=K)
    assert (found.ours, found.theirs) == ("influence", "influence (theirs)")
    (one,) = found.queries
    assert one.overlap == 1
    assert one.spearman == pytest.approx(1)
    assert one.effect.ours == one.effect.theirs
    assert "Both name the same 4 rows." in found.sentence(one)


def test_what_cannot_be_compared_is_refused(run, queries):
    other = theirs(run, queries)
    with pytest.raises(SettingError, match="no answer to compare"):
        compare(run, [], other)
    with pytest.raises(SettingError, match="at least 19"):
        compare(run, queries, other, draws=18)
    with pytest.raises(SettingError, match="fewer than all"):
        compare(run, queries, other, k=len(run.train))
    answers = run.trace_all(queries[:1], ["bm25"])
    with pytest.raises(SettingError, match="not both"):
        compare(run, [*answers, queries[1]], other)
    with pytest.raises(SettingError, match="no scores of 'influence'"):
        compare(run, answers, other, method="influence")


# What cannot be trained again


@pytest.fixture(scope="module")
def elsewhere(made, tiny_folder, cli, tmp_path_factory):
    """The same adapter as if it came from elsewhere: with its trajectory beside it, and without."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for name in ("known", "bare"):
        shutil.copytree(made / "run" / "adapter", folder / name / "adapter")
        if name == "known":
            shutil.copytree(made / "run" / "trajectory", folder / name / "trajectory")
        done = cli(
            *("index", folder / name / "run", "--adapter", folder / name / "adapter"),
            *("--model", tiny_folder, "--data", made / "train.jsonl", "--methods", "influence"),
        )
        assert done.code == 0, done.err
    return folder


def test_an_adapter_whose_training_was_recorded_has_a_spot_check(elsewhere, run, queries):
    theirs_run = Run.open(elsewhere / "known" / "run")
    found = compare(theirs_run, queries, theirs(theirs_run, queries), k=K)
    assert "did not fine-tune" in found.why_not
    for one in found.queries:
        assert one.effect.how == "spot check"
        assert len(one.effect.random) == 20
        assert found.sentence(one).startswith("The spot check (a training step, no retraining)")
    assert found.summary()["how"] == "spot check"
    # the very step that the run itself would be asked to take
    from wherefrom.counterfactual import Ending
    from wherefrom.diagnose import spot_checks
    from wherefrom.run._ask import ask_queries

    asked = ask_queries(run, queries, "log_probability", [0])
    answers = theirs_run.trace_all(queries)
    ours = replace(
        answers[0].scores[0],
        values=np.concatenate([a.scores[0].values for a in answers]),
        query_ids=tuple(q.id for q in queries),
    )
    spots = spot_checks(asked, ours, [], Ending.saved(run.trajectory), K)
    for one, spot in zip(found.queries, spots, strict=True):
        assert one.effect.ours == pytest.approx(spot.gain, abs=1e-5)


def test_an_adapter_of_unknown_training_has_the_rankings_and_the_reason(elsewhere, queries):
    bare = Run.open(elsewhere / "bare" / "run")
    found = compare(bare, queries, theirs(bare, queries), k=K)
    assert found.summary() is None
    assert "no trajectory of this adapter lies at" in found.why_not
    assert all(one.effect is None for one in found.queries)
    assert "was not measured" in found.sentence(found.queries[0])
    assert found.queries[0].spearman is not None


def test_an_adapter_that_is_no_plain_lora_is_not_stepped(elsewhere, queries, tmp_path):
    held = shutil.copytree(elsewhere / "known", tmp_path / "known")
    run = Run.open(held / "run")
    config = run.config.model_copy(update={"adapter": str(held / "adapter")})
    path = held / "adapter" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"use_rslora": True}))
    from wherefrom.errors import ModelError
    from wherefrom.run._patching import patching

    with pytest.raises(ModelError, match="no plain LoRA adapter"):
        patching(Run(run.path, config), queries)


# Their file


def write(path, scores):
    scores.to_pandas().to_csv(path)
    return path


def test_of_one_query_a_file_of_one_line_will_do(tmp_path):
    (ours, _) = pair(1)
    ids = ("query",), ours.train_ids
    write(tmp_path / "named.csv", ours)
    np.savetxt(tmp_path / "bare.csv", ours.values, delimiter=",")
    np.save(tmp_path / "bare.npy", ours.values)
    write_scores(ours, tmp_path / "ours.parquet")
    ours.to_pandas().to_parquet(tmp_path / "frame.parquet")
    for name in ("named.csv", "bare.csv", "bare.npy", "ours.parquet", "frame.parquet"):
        found = read_other(tmp_path / name, *ids)
        assert found.query_ids == ("query",)
        np.testing.assert_allclose(found.values, ours.values, rtol=1e-6)
    down = read_other(tmp_path / "named.csv", *ids, "negative")
    np.testing.assert_allclose(down.values, -ours.values, rtol=1e-6)


def test_a_file_that_does_not_fit_is_refused(tmp_path):
    ours, _ = pair(2)
    write(tmp_path / "two.csv", ours)
    with pytest.raises(DataError, match="no scores for query 'query'"):
        read_other(tmp_path / "two.csv", ("query",), ours.train_ids)
    with pytest.raises(DataError, match="no such file"):
        read_other(tmp_path / "none.csv", ("query",), ours.train_ids)
    (tmp_path / "bad.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not a readable CSV"):
        read_other(tmp_path / "bad.csv", ("query",), ours.train_ids)


# The command


def test_the_command_sets_them_side_by_side(made, run, queries, cli, tmp_path):
    path = write(tmp_path / "their-tool.csv", theirs(run, queries))
    common = ("trace", run.path, "--queries", made / "bad.jsonl", "--compare", path, "--top", K)
    table = cli(*common)
    assert table.code == 0, table.err
    assert table.out.count("Retraining supports influence and not their-tool.") == 3
    assert "over 3 answers: influence is supported for 3, their-tool for 0" in table.out
    held = json.loads(cli(*common, "--format", "json").out)
    assert held["summary"]["supported_ours"] == 3
    turned = cli(*common, "--sign", "negative", "--format", "json")
    assert turned.code == 0, turned.err
    told = json.loads(turned.out)["queries"][0]
    assert told["spearman"] == pytest.approx(-held["queries"][0]["spearman"], abs=1e-9)
    done = cli(*common, "--out", tmp_path / "c.csv")
    assert done.code == 0, done.err
    frame = pd.read_csv(tmp_path / "c.csv")
    assert frame.groupby(["query", "side"]).size().tolist() == [K] * 6
    assert set(frame["supported"]) == {"ours"}
    markdown = cli(*common, "--format", "md")
    assert markdown.out.startswith("### q0")


def test_one_prompt_beside_one_line(made, run, queries, cli, tmp_path):
    path = write(tmp_path / "one.csv", theirs(run, queries[:1]))
    told = cli(
        *("trace", run.path, "--prompt", queries[0].prompt, "--response", queries[0].response),
        *("--compare", path, "--top", K),
    )
    assert told.code == 0, told.err
    assert "Retraining supports influence and not one." in told.out
    refused = cli(
        *("trace", run.path, "--prompt", "x", "--response", "y", "--compare", tmp_path / "no.csv")
    )
    assert refused.code == 2
    assert "no such file" in refused.err


def test_hostile_text_stays_text(capsys):
    from wherefrom.cli._options import Format
    from wherefrom.cli._print_compared import print_compared

    evil = "\x1b[2J\u202e|<script>"
    train = [Example.of(f"{evil}{i}", evil, evil) for i in range(len(tiny_rows(4)))]
    ids = tuple(row.id for row in train)
    sides = [Scores(np.array([[1.0, 2, 3, 4]]), (evil,), ids, f"{name}{evil}") for name in "ab"]
    effect = Effect("retraining", 1.0, 0.0, 0.5, tuple(np.zeros(20)))
    found = compared([Example.of(evil, evil, evil)], *sides, 2, [effect], f"because {evil}")
    for form in (Format.table, Format.md):
        print_compared(found, train, form)
        out = capsys.readouterr().out
        assert "\ufffd" in out
        assert not {"\x1b", "\u202e"} & set(out)
    print_compared(found, train, Format.json)
    assert json.loads(capsys.readouterr().out)["queries"][0]["query"]["id"] == evil


def test_the_planted_rows_are_what_this_file_thinks_they_are():
    assert {row["id"] for row in planted_rows()} >= set(PLANTED)
