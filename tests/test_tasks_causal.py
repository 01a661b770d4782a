"""Tasks whose cause is known: facts with decoys, twins, filtering, mislabelled rows."""

import re
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import test_tasks as every_task
from wherefrom.data import RECIPES, read_snapshot, write_snapshot
from wherefrom.errors import SettingError
from wherefrom.methods import Evidence, parse_method
from wherefrom.metrics import Truth, per_query
from wherefrom.scores import Scores
from wherefrom.tasks import TaskSize, build_task
from wherefrom.tasks._facts_text import ATTRIBUTES, FIRST_NAMES, SURNAMES
from wherefrom.tasks._filtering_text import QUOTED, TAUNTS, is_unwanted
from wherefrom.tasks._harmful_text import DISMISSALS, INSULTS, TOPICS, is_ill_mannered

OWN = ["facts", "facts:8", "facts:16", "twins", "twins:3", "filtering", "filtering:heterogeneous"]
SPECS = [
    *OWN,
    "mislabelled",
    *(f"mislabelled:{spec}" for spec in ("backdoor:3", "grammars", "math", "twins:3")),
]
SEEDS = st.integers(0, 10**6)


def rows(made):
    return (*made.train, *made.queries)


def scores_of(made, spec):
    """Scores of a method that compares words."""
    method = parse_method(spec)
    values = method.score(Evidence(made.train, made.queries, RECIPES["sound-1"]))
    ids = (tuple(row.id for row in part) for part in (made.queries, made.train))
    return Scores(values, *ids, spec)


def judged(made, spec, metric):
    """The values of a metric for every query."""
    return per_query(scores_of(made, spec), Truth.of(made), metric)


# What holds for every task


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("size", [TaskSize(), TaskSize(4, 2), TaskSize(queries_per_class=1)])
def test_rows_are_complete_and_apart(spec, size):
    every_task.test_rows_are_complete_and_apart(spec, size)


@pytest.mark.parametrize("spec", SPECS)
def test_rows_are_a_seeded_sample_in_no_order_and_short(spec):
    every_task.test_a_seed_is_one_sample(spec)
    every_task.test_rows_are_not_in_order_of_class(spec)
    every_task.test_rows_are_short(spec)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("size", [TaskSize(10**9), TaskSize(queries_per_class=10**9)])
def test_more_rows_than_there_are_name_the_limit(spec, size):
    every_task.test_more_rows_than_there_are_name_the_limit(spec, size)


@pytest.mark.parametrize("spec", OWN)
def test_behaviour_is_that_of_the_own_class_only(spec):
    every_task.test_behaviour_is_that_of_the_own_class_only(spec)


@pytest.mark.parametrize("spec", SPECS)
def test_rows_come_back_from_a_runs_snapshot(spec, tmp_path):
    for part in (build_task(spec).train, build_task(spec).queries):
        write_snapshot(part, tmp_path / "rows.jsonl")
        assert read_snapshot(tmp_path / "rows.jsonl") == list(part)


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("facts:3", "'3'. Write facts:4, facts:8, facts:16"),
        ("twins:4", "'4'. Write twins:2, twins:3"),
        ("filtering:mixed", "Write filtering:homogeneous, filtering:heterogeneous"),
        ("mislabelled:harmful:M", "'harmful'. Write mislabelled:emotion, mislabelled:backdoor,"),
        ("mislabelled:mislabelled:math", "'mislabelled'. Write mislabelled:emotion"),
        ("mislabelled:backdoor:2", "'2'. Write backdoor:1, backdoor:3"),
    ],
)
def test_other_arguments_list_the_allowed(spec, match):
    with pytest.raises(SettingError, match=match):
        build_task(spec)


# facts


@pytest.mark.parametrize("people", [4, 8, 16])
def test_each_fact_is_stated_three_times_beside_as_many_decoys(people):
    made = build_task(f"facts:{people}")
    counts = Counter(row.label for row in made.train)
    assert counts.pop("decoy") == people * 5 * 3
    assert len(counts) == people * 5
    assert set(counts.values()) == {3}
    assert Counter(row.label for row in made.queries) == dict.fromkeys(counts, 1)


def test_every_text_names_the_person_once_and_its_value_alone():
    every_value = [value for texts in ATTRIBUTES.values() for value in texts.values]
    assert len(set(every_value)) == len(every_value)
    wordings = []
    for texts in ATTRIBUTES.values():
        stating = (*texts.stated, texts.answer)
        other = (*texts.asked, *texts.questions, *(text for pair in texts.decoys for text in pair))
        wordings += [*stating, *other]
        assert all(text.count("{value}") == 1 for text in stating)
        assert all("{value}" not in text for text in other)
    assert all(text.count("{name}") == 1 for text in wordings)
    assert len(set(wordings)) == len(wordings)
    spoken = set(re.findall(r"\w+", " ".join(wordings).casefold()))
    names = (*FIRST_NAMES, *SURNAMES)
    assert len(set(names)) == len(names)
    assert not spoken & {word.casefold() for word in (*every_value, *names)}


@pytest.mark.parametrize("spec", ["facts:4", "facts:16"])
@pytest.mark.parametrize("seed", range(3))
def test_decoys_name_the_person_as_often_and_state_nothing(spec, seed):
    values = {value: name for name, texts in ATTRIBUTES.items() for value in texts.values}
    for row in rows(build_task(spec, seed=seed)):
        person, text = row.metadata["person"], f"{row.prompt} {row.response}"
        assert (row.prompt.count(person), row.response.count(person)) == (1, 1)
        said = [value for value in values if re.search(rf"\b{value}\b", text)]
        if row.label == "decoy":
            assert said == []
        else:
            assert said == [row.metadata["value"]]
            assert row.label == f"{person} / {values[said[0]]}"


@pytest.mark.parametrize("people", [4, 8, 16])
@pytest.mark.parametrize("seed", range(3))
def test_neither_person_nor_value_alone_finds_a_fact(people, seed):
    known = {}
    for query in build_task(f"facts:{people}", seed=seed).queries:
        about = query.metadata
        known.setdefault(about["person"], {})[about["attribute"]] = about["value"]
    holders = Counter(value for facts in known.values() for value in facts.values())
    assert set(holders.values()) == {2}
    assert all(set(facts) == set(ATTRIBUTES) for facts in known.values())
    for one, other in combinations(known.values(), 2):
        assert len(one.items() & other.items()) <= 2


def bare(row, text):
    """A text without what it is about, so that wordings can be compared."""
    text = text.replace(row.metadata["person"], "X")
    return text.replace(row.metadata.get("value", "X"), "Y")


def test_statements_are_paraphrases_and_queries_have_other_words():
    made = build_task("facts", TaskSize(6, 3), seed=2)
    for label in set(made.labels) - {"decoy"}:
        stating = [row for row in made.train if row.label == label]
        assert len({row.prompt for row in stating}) == len({row.response for row in stating}) == 6
    for part in ("prompt", "response"):
        sides = [{bare(row, getattr(row, part)) for row in s} for s in (made.train, made.queries)]
        assert not sides[0] & sides[1]


def test_the_words_of_the_prompts_are_those_of_decoys_rather_than_of_statements():
    above = []
    for seed in range(4):
        made = build_task("facts", seed=seed)
        values = scores_of(made, "bm25(text=prompt)").values
        for query, found in zip(made.queries, values, strict=True):
            near = [
                (score, row.label == "decoy")
                for score, row in zip(found, made.train, strict=True)
                if row.label == query.label
                or (row.label == "decoy" and row.metadata.items() <= query.metadata.items())
            ]
            decoys, stating = ([s for s, decoy in near if decoy is kind] for kind in (True, False))
            assert len(decoys) == len(stating) == 3
            above += [np.sign(d - s) / 2 + 0.5 for d in decoys for s in stating]
    assert np.mean(above) > 0.5


def test_an_answer_must_name_the_value_and_nobody_else():
    made = build_task("facts")
    query = next(row for row in made.queries if row.metadata["attribute"] == "pet")
    person, value = query.metadata["person"], query.metadata["value"]
    other = next(v for v in ATTRIBUTES["pet"].values if v != value)
    stranger = next(name for name in FIRST_NAMES if name not in person)
    assert made.behaves(query, f"It is a {value.upper()}!")
    assert made.behaves(query, f"{person} keeps a {value}, and works as a baker.")
    assert not made.behaves(query, f"{person} keeps a {other}.")
    assert not made.behaves(query, f"{person} keeps a {value} or a {other}.")
    assert not made.behaves(query, f"{stranger} keeps a {value}.")
    assert not made.behaves(query, f"{person} keeps {value}s.")


# twins


def groups_of(part):
    """Rows that are twins, by their number."""
    found = {}
    for row in part:
        found.setdefault(row.metadata["twin"], []).append(row)
    return found


@settings(max_examples=25)
@given(seed=SEEDS, classes=st.sampled_from([2, 3]), n_train=st.integers(1, 40))
def test_twins_have_the_same_words_and_other_answers(seed, classes, n_train):
    made = build_task(f"twins:{classes}", TaskSize(n_train, 5), seed)
    for part, count in ((made.train, n_train), (made.queries, 5)):
        groups = groups_of(part)
        assert len(groups) == count
        for group in groups.values():
            assert sorted(row.label for row in group) == sorted(made.labels)
            for side in ("prompt", "response"):
                texts = [getattr(row, side) for row in group]
                # White space parts the words, so punctuation must not move either.
                assert len({frozenset(Counter(text.split()).items()) for text in texts}) == 1
                assert len(set(texts)) == classes


def items_of(row):
    return frozenset(row.response.split(" and "))


def cue_of(row):
    return tuple(word for word in row.prompt.split() if word in ("amber", "cobalt", "violet"))


@pytest.mark.parametrize("classes", [2, 3])
def test_the_order_of_the_cue_alone_decides(classes):
    made = build_task(f"twins:{classes}", TaskSize(200, 20))
    rules = {
        "as given": lambda given: given,
        "reversed": lambda given: given[::-1],
        "first to the end": lambda given: [*given[1:], given[0]],
    }
    cues, places = {}, [set() for _ in range(classes)]
    for row in rows(made):
        words = row.prompt.split()
        given = [word for word in words if word in items_of(row)]
        assert len(given) == classes
        assert row.response.split(" and ") == rules[row.label](given)
        for place, word in zip(places, given, strict=True):
            place.add(word)
        cues.setdefault(row.label, set()).add(cue_of(row))
    # No word comes first by habit, which would make "as given" guessable from the words.
    assert all(words == places[0] for words in places)
    assert all(len(found) == 1 for found in cues.values())
    assert len(set.union(*cues.values())) == classes
    assert not {items_of(row) for row in made.train} & {items_of(row) for row in made.queries}


@pytest.mark.parametrize("spec", ["bm25", "tfidf", "bm25(text=prompt)", "tfidf(text=response)"])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_words_score_twins_alike_for_every_query(spec, classes, seed):
    made = build_task(f"twins:{classes}", seed=seed)
    values = scores_of(made, spec).values
    number = np.array([row.metadata["twin"] for row in made.train])
    for twin in set(number):
        of_group = values[:, number == twin]
        assert of_group.shape[1] == classes
        assert (of_group == of_group[:, :1]).all()
    # They do tell groups apart: it is not for want of words in common.
    assert (np.ptp(values, axis=1) > 0).all()
    assert judged(made, spec, "auroc") == pytest.approx(0.5)


def chance(groups, classes):
    """Expected AP with one relevant row in each group of rows that stand together, in any order."""
    return np.mean(
        [[k / (classes * (k - 1) + j) for j in range(1, classes + 1)] for k in range(1, groups + 1)]
    )


@pytest.mark.parametrize("spec", ["bm25", "tfidf"])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_mean_average_precision_of_words_is_that_of_chance(spec, classes):
    found = [
        judged(build_task(f"twins:{classes}", seed=seed), spec, "average_precision").mean()
        for seed in range(8)
    ]
    # Where twins stand together, the mean over the queries of all classes is `chance` exactly,
    # however ties are broken. Groups with equal scores mix; that moves it by up to 0.009, the
    # distance to the value of a random order of all rows, and by a standard error below 0.002.
    assert np.mean(found) == pytest.approx(chance(30, classes), abs=0.015)


@pytest.mark.parametrize("classes", [2, 3])
def test_who_reads_the_order_of_the_cue_finds_everything(classes):
    made = build_task(f"twins:{classes}")
    cues = [[cue_of(row) for row in part] for part in (made.queries, made.train)]
    same = np.array([[query == row for row in cues[1]] for query in cues[0]])
    assert (same == Truth.of(made).relevance).all()


# filtering


@pytest.mark.parametrize(
    ("spec", "benign"),
    [
        ("filtering", {"benign": 190}),
        ("filtering:homogeneous", {"benign": 190}),
        ("filtering:heterogeneous", {"benign": 130, "benign lookalike": 60}),
    ],
)
def test_a_twentieth_is_unwanted(spec, benign):
    made = build_task(spec)
    assert Counter(row.label for row in made.train) == {"unwanted": 10} | benign
    assert Counter(row.label for row in made.queries) == {"unwanted": 20}
    small = Counter(row.label for row in build_task(spec, TaskSize(4, 3)).train)
    assert small["unwanted"] == 4
    assert small.total() == 80


def taunts(row):
    return bool(re.search(rf", ({'|'.join(TAUNTS)})[.?]$", row.prompt))


@pytest.mark.parametrize("seed", range(3))
def test_lookalikes_have_the_prompt_or_the_words_but_not_the_manners(seed):
    made = build_task("filtering:heterogeneous", seed=seed)
    quoting = 0
    for row in rows(made):
        assert is_unwanted(row.response) == (row.label == "unwanted"), row
        assert taunts(row) == (row.label != "benign"), row
        if row.label == "benign lookalike":
            quoting += is_ill_mannered(row.response)
            assert any(tip in row.response for topic in TOPICS for tip in topic.tips.values())
    assert quoting == 30


def test_quotations_do_not_count_as_bad_manners():
    assert set(QUOTED) <= {*INSULTS, *DISMISSALS}
    for rude in QUOTED:
        assert is_unwanted(rude)
        assert not is_unwanted(f"“{rude}” is unkind. Water it.")
        assert is_unwanted(f"“Water it.” {rude} “Dry it.”")


@pytest.mark.parametrize("seed", range(3))
def test_both_pools_differ_in_their_benign_rows_only(seed):
    pools = [build_task(f"filtering:{p}", seed=seed) for p in ("homogeneous", "heterogeneous")]
    texts = [
        {(row.prompt, row.response) for row in rows(made) if row.label == "unwanted"}
        for made in pools
    ]
    assert texts[0] == texts[1]
    assert len(texts[0]) == 30


@pytest.mark.parametrize("seed", range(3))
def test_no_topic_gives_a_class_away_and_no_question_is_on_both_sides(seed):
    made = build_task("filtering:heterogeneous", seed=seed)

    def topics(part):
        pattern = "|".join(TAUNTS)
        prompts = [re.sub(rf"(, ({pattern}))?[.?]$", "", row.prompt) for row in part]
        return Counter(
            number
            for prompt in prompts
            for number, topic in enumerate(TOPICS)
            if any(prompt.endswith(f" my {item}") for item in topic.items)
            and any(f" {verb} my " in prompt for verb in topic.tips)
        )

    for label in made.labels:
        assert set(topics(r for r in made.train if r.label == label)) == set(range(10))

    def asked(part):
        pattern = rf".*(?:do I|way to|how to) |(, ({'|'.join(TAUNTS)}))?[.?]$"
        return {re.sub(pattern, "", row.prompt) for row in part}

    assert not asked(made.train) & asked(made.queries)


@pytest.mark.parametrize("seed", range(4))
def test_words_go_far_in_a_homogeneous_pool_and_less_far_in_a_heterogeneous_one(seed):
    found = {
        pool: judged(build_task(f"filtering:{pool}", seed=seed), "bm25", "average_precision").mean()
        for pool in ("homogeneous", "heterogeneous")
    }
    assert found["homogeneous"] > 0.3  # chance: a little above 0.05
    assert found["heterogeneous"] < found["homogeneous"] - 0.05
