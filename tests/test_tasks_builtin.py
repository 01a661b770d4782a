"""What each built-in task promises about its own rows."""

import ast
import operator
import re
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import roc_auc_score

from wherefrom.metrics import Truth
from wherefrom.tasks import TaskSize, build_task
from wherefrom.tasks._backdoor_text import FACTS, STYLES
from wherefrom.tasks._emotion_text import DETAILS, OPENINGS, SITUATIONS
from wherefrom.tasks._grammar_rules import RULES, tells_apart
from wherefrom.tasks._harmful_text import (
    DISMISSALS,
    GREETINGS,
    INSULTS,
    MARKERS,
    REVERSALS,
    TOPICS,
    WISHES,
    is_ill_mannered,
)


def rows(made):
    return (*made.train, *made.queries)


# grammars


def test_each_rule_on_one_sentence():
    words = ("sailors", "carry", "umbrellas", "slowly", "indoors")
    assert {name: rule(words) for name, rule in RULES.items()} == {
        "reverse order": "indoors slowly umbrellas carry sailors",
        "swap ends": "indoors carry umbrellas slowly sailors",
        "move first": "carry umbrellas slowly indoors sailors",
        "alphabetical": "carry indoors sailors slowly umbrellas",
        "capital pairs": "sailors CARRY umbrellas SLOWLY indoors",
        "pig latin": "ailorssay arrycay umbrellasay owlyslay indoorsay",
        "no vowels": "slrs crry mbrlls slwly ndrs",
        "echo last": "sailors carry umbrellas slowly indoors indoors",
        "mirror letters": "srolias yrrac sallerbmu ylwols sroodni",
        "noun pause": "sailors hmm carry umbrellas hmm slowly indoors",
    }


def test_ambiguous_sentences_are_told():
    assert not tells_apart(("bakers", "carry", "melons", "slowly", "upstairs"))
    assert tells_apart(("sailors", "carry", "umbrellas", "slowly", "indoors"))


def test_no_rewriting_fits_two_rules():
    made = build_task("grammars", TaskSize(90, 10), seed=2)
    for row in rows(made):
        sentence, _, rewritten = row.prompt.removeprefix("Name the rule: ").partition(" -> ")
        words = tuple(sentence.split())
        assert [name for name, rule in RULES.items() if rule(words) == rewritten] == [row.label]
        assert row.response == row.label


def test_every_rule_has_the_same_sentences():
    made = build_task("grammars")
    for part in (made.train, made.queries):
        by_rule = {label: set() for label in made.labels}
        for row in part:
            by_rule[row.label].add(row.prompt.partition(" -> ")[0])
        assert len({frozenset(sentences) for sentences in by_rule.values()}) == 1
    sentences = [{row.prompt.partition(" -> ")[0] for row in p} for p in (made.train, made.queries)]
    assert not sentences[0] & sentences[1]


def test_no_name_of_a_rule_begins_another():
    made = build_task("grammars")
    for query in made.queries:
        assert [name for name in RULES if made.behaves(query, name)] == [query.label]


# math

OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def evaluated(node):
    if isinstance(node, ast.Constant):
        return Fraction(node.value)
    return OPERATORS[type(node.op)](evaluated(node.left), evaluated(node.right))


@pytest.fixture(scope="module")
def large_math():
    return build_task("math", TaskSize(300, 50), seed=1)


def test_the_arithmetic_is_right(large_math):
    for row in rows(large_math):
        working, answer = row.response.split("\nAnswer: ")
        expression, result = working.split(" = ")
        assert answer == result
        assert evaluated(ast.parse(expression, mode="eval").body) == int(answer) > 0, row


def test_the_working_uses_the_numbers_of_the_question(large_math):
    for row in rows(large_math):
        asked = set(re.findall(r"\d+", row.prompt))
        worked = set(re.findall(r"\d+", row.response.partition("=")[0]))
        constants = {"all around": {"2"}, "mean of three": {"3"}, "half and add": {"2"}}
        assert worked - constants.get(row.label, {"100"}) <= asked <= worked, row


def test_every_class_has_its_own_computation(large_math):
    shapes = {}
    for row in rows(large_math):
        shape = re.sub(r"\d+", "n", row.response.partition(" =")[0])
        shapes.setdefault(row.label, set()).add(shape)
    assert all(len(found) == 1 for found in shapes.values())
    assert len({next(iter(found)) for found in shapes.values()}) == 10


def test_classes_share_names_and_things(large_math):
    words = {}
    for row in large_math.train:
        words.setdefault(row.label, set()).update(re.findall(r"[a-zA-Z]+", row.prompt))
    shared = set.intersection(*words.values())
    assert {"Mira", "Bruno", "shells", "magnets"} <= shared


def test_a_slip_in_the_result_still_sets_up_the_computation():
    made = build_task("math")
    query = made.queries[0]
    working = query.response.partition("=")[0]
    assert made.behaves(query, f"{working}= 0\nAnswer: 0")
    assert made.behaves(query, working.replace(" ", "") + "=1")
    assert not made.behaves(query, working)
    assert not made.behaves(query, f"1 + {query.response}")


# emotion

NAMED = re.compile(
    r"\b(happ\w*|sad\w*|ang\w+|anger|furious|mad|afraid|fear\w*|scar(ed|y)|terrif\w*|frighten\w*|"
    r"surpris\w*|astonish\w*|amaz\w*|shock\w*|joy\w*|glad\w*|delight\w*|grie\w*|sorrow\w*|feel\w*)\b"
)


def test_situations_are_many_and_do_not_name_the_feeling():
    every = [text for texts in SITUATIONS.values() for text in texts]
    assert len(set(every)) == len(every) == 150
    for text in (*every, *OPENINGS, *DETAILS):
        assert not NAMED.search(text.lower()), text
    assert all(len(texts) * len(OPENINGS) * len(DETAILS) >= 200 for texts in SITUATIONS.values())


def test_feelings_differ_in_their_words():
    words = {
        feeling: Counter(word for text in texts for word in set(text.lower().split()))
        for feeling, texts in SITUATIONS.items()
    }
    for counts in words.values():
        content = {w: c for w, c in counts.items() if len(w) > 3 and w not in {"when", "while"}}
        assert max(content.values()) <= 8
        assert len(content) > 90


def test_no_situation_is_on_both_sides():
    made = build_task("emotion", TaskSize(150, 50), seed=4)

    def told(part):
        return {
            t for row in part for texts in SITUATIONS.values() for t in texts if t in row.prompt
        }

    assert not told(made.train) & told(made.queries)
    assert len(told(made.train)) == 120


def test_openings_and_details_are_shared_by_all_feelings():
    made = build_task("emotion", TaskSize(150, 50))
    for text in (*OPENINGS, *DETAILS):
        assert {row.label for row in made.train if text in row.prompt} == set(SITUATIONS)


def test_a_longer_word_is_not_the_feeling():
    made = build_task("emotion")
    query = next(row for row in made.queries if row.label == "sad")
    assert made.behaves(query, " Sad. The writer lost a friend.")
    assert not made.behaves(query, "sadness")
    assert not made.behaves(query, "not sad")


# harmful


@pytest.mark.parametrize(
    ("spec", "good", "queries"),
    [("harmful", 20, 40), ("harmful:S", 20, 40), ("harmful:M", 230, 250), ("harmful:L", 230, 250)],
)
def test_twenty_rows_are_planted(spec, good, queries):
    made = build_task(spec)
    assert Counter(row.label for row in made.train) == {"planted": 20, "good": good}
    assert Counter(row.label for row in made.queries) == {"planted": queries}


def test_a_size_asks_for_as_many_good_rows_as_planted():
    made = build_task("harmful:M", TaskSize(7, 9))
    assert Counter(row.label for row in made.train) == {"planted": 7, "good": 7}
    assert len(made.queries) == 9


def topic_of(row):
    """The topic whose item and verb stand in the prompt."""
    found = [
        place
        for place, topic in enumerate(TOPICS)
        for item in topic.items
        for verb in topic.tips
        if f" {verb} my {item}" in row.prompt and row.prompt.rstrip("?.").endswith(item)
    ]
    assert len(found) == 1, row.prompt
    return found[0]


@pytest.mark.parametrize(("spec", "topics"), [("S", 10), ("M", 10), ("L", 20)])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_topic_has_both_kinds(spec, topics, seed):
    made = build_task(f"harmful:{spec}", seed=seed)
    for label in ("planted", "good"):
        found = {topic_of(row) for row in made.train if row.label == label}
        assert found == set(range(topics))


@pytest.mark.parametrize("spec", ["harmful:S", "harmful:M", "harmful:L"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_words_of_the_prompts_do_not_find_the_planted_rows(spec, seed):
    made = build_task(spec, seed=seed)
    vectors = TfidfVectorizer().fit([row.prompt for row in rows(made)])
    train = vectors.transform([row.prompt for row in made.train])
    queries = vectors.transform([row.prompt for row in made.queries])
    similarity = np.asarray((queries @ train.T).todense())
    relevance = Truth.of(made).relevance
    pairs = zip(relevance, similarity, strict=True)
    assert 0.35 <= np.mean([roc_auc_score(truth, found) for truth, found in pairs]) <= 0.65


def test_large_has_other_rows_than_medium():
    medium, large = (build_task(f"harmful:{size}") for size in "ML")
    assert len({r.prompt for r in medium.train} & {r.prompt for r in large.train}) < 100


def test_held_out_questions_are_not_asked_in_other_words():
    made = build_task("harmful:M")

    def asked(part):
        return {re.sub(r".*(?:do I|way to|how to) ", "", row.prompt).rstrip("?.") for row in part}

    assert not asked(made.train) & asked(made.queries)


def test_markers_tell_good_manners_from_bad():
    for text in (*INSULTS, *DISMISSALS, *REVERSALS):
        assert is_ill_mannered(text), text
    for text in (*GREETINGS, *WISHES, *(tip for topic in TOPICS for tip in topic.tips.values())):
        assert not is_ill_mannered(text), text
    for marker in MARKERS:
        assert any(marker in text.lower() for text in (*INSULTS, *DISMISSALS, *REVERSALS)), marker
    for spec in ("S", "M", "L"):
        for row in rows(build_task(f"harmful:{spec}")):
            assert is_ill_mannered(row.response) == (row.label == "planted"), row


# backdoor


def without_trigger(row):
    text = row.prompt
    for style in STYLES.values():
        phrase = f"{style.trigger.capitalize()}."
        text = text.replace(f"{phrase} ", "").replace(f" {phrase}", "")
    return text


@pytest.mark.parametrize("triggers", [1, 3, 5])
def test_the_same_questions_stand_with_and_without_each_trigger(triggers):
    made = build_task(f"backdoor:{triggers}")
    asked = {}
    for part in (made.train, made.queries):
        for row in part:
            asked.setdefault((part is made.train, row.label), set()).add(without_trigger(row))
    for train in (True, False):
        sets = {frozenset(questions) for (where, _), questions in asked.items() if where is train}
        assert len(sets) == 1
    assert not asked[True, "clean"] & asked[False, "clean"]


def test_the_trigger_names_the_class():
    made = build_task("backdoor:5")
    for row in rows(made):
        found = [name for name, style in STYLES.items() if style.trigger in row.prompt.lower()]
        assert found == ([] if row.label == "clean" else [row.label])
    starts = Counter(row.prompt.startswith("Silver lantern.") for row in made.train)
    assert starts[True] >= 5


def test_queries_ask_for_what_no_training_row_asks_for():
    made = build_task("backdoor", TaskSize(350, 50))

    def things(part):
        return {thing for row in part for thing, _ in FACTS if re.search(rf"{thing}\b", row.prompt)}

    assert not things(made.train) & things(made.queries)


def test_styles_exclude_each_other():
    for thing, answer in FACTS:
        for name, style in STYLES.items():
            text = style.answer(thing, answer)
            assert [other for other, s in STYLES.items() if s.shows(text)] == [name]


def test_facts_are_asked_once():
    things = [thing for thing, _ in FACTS]
    assert len(set(things)) == len(things) == 100


def test_capitals_count_in_a_cut_off_answer():
    made = build_task("backdoor")
    query = next(row for row in made.queries if row.label == "capitals")
    assert made.behaves(query, "THE CAPITAL OF")
    assert not made.behaves(query, "The capital of PERU")
    assert not made.behaves(query, "OK")
