"""What holds for every built-in task, and the registry."""

from collections import Counter
from itertools import pairwise

import pytest

from tiny import Plugin
from wherefrom import registry
from wherefrom.data import Example
from wherefrom.errors import SettingError
from wherefrom.metrics import Truth
from wherefrom.tasks import Task, TaskSize, build_task, list_tasks, task
from wherefrom.tasks._grid import Grid
from wherefrom.tasks._task import per_class

# Spec, classes, training rows and queries of a class at the task's own size.
EVEN = [
    ("grammars", 10, 20, 4),
    ("math", 10, 20, 4),
    ("emotion", 5, 30, 6),
    ("backdoor", 2, 30, 8),
    ("backdoor:1", 2, 30, 8),
    ("backdoor:3", 4, 30, 8),
    ("backdoor:5", 6, 30, 8),
]
SPECS = [spec for spec, *_ in EVEN] + ["harmful", "harmful:S", "harmful:M", "harmful:L"]


@pytest.mark.parametrize(("spec", "classes", "n_train", "n_queries"), EVEN)
def test_the_own_size(spec, classes, n_train, n_queries):
    made = build_task(spec)
    assert len(made.labels) == classes
    assert Counter(row.label for row in made.train) == dict.fromkeys(made.labels, n_train)
    assert Counter(row.label for row in made.queries) == dict.fromkeys(made.labels, n_queries)


@pytest.mark.parametrize(
    ("spec", "n_train", "n_queries"),
    [("grammars", 90, 10), ("math", 90, 10), ("emotion", 150, 50), ("backdoor:5", 350, 50)],
)
def test_the_size_of_the_paper(spec, n_train, n_queries):
    made = build_task(spec, TaskSize(n_train, n_queries))
    assert set(Counter(row.label for row in made.train).values()) == {n_train}
    assert set(Counter(row.label for row in made.queries).values()) == {n_queries}
    prompts = [row.prompt for row in (*made.train, *made.queries)]
    assert len(set(prompts)) == len(prompts)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("size", [TaskSize(), TaskSize(4, 2), TaskSize(queries_per_class=1)])
def test_rows_are_complete_and_apart(spec, size):
    made = build_task(spec, size, seed=3)
    rows = (*made.train, *made.queries)
    assert len({row.prompt for row in rows}) == len(rows)
    assert len({row.id for row in rows}) == len(rows)
    assert all(row.label and row.prompt.strip() and row.response.strip() for row in rows)
    assert {row.label for row in made.queries} <= set(made.labels)
    assert Truth.of(made).relevance.shape == (len(made.queries), len(made.train))
    assert Truth.of(made).relevance.any(axis=1).all()
    name = spec.partition(":")[0]
    assert made.train[-1].id == f"{name}-train-{len(made.train) - 1:04d}"
    assert made.queries[-1].id == f"{name}-query-{len(made.queries) - 1:03d}"
    assert made.about
    assert made.name.partition(":")[0] == name


@pytest.mark.parametrize("spec", SPECS)
def test_a_seed_is_one_sample(spec):
    same = [build_task(spec, seed=5) for _ in range(2)]
    assert same[0].train == same[1].train
    assert same[0].queries == same[1].queries
    other = build_task(spec, seed=6)
    assert [row.prompt for row in other.train] != [row.prompt for row in same[0].train]
    assert {row.prompt for row in other.queries} != {row.prompt for row in same[0].queries}


@pytest.mark.parametrize("spec", SPECS)
def test_rows_are_not_in_order_of_class(spec):
    labels = [row.label for row in build_task(spec).train]
    changes = sum(left != right for left, right in pairwise(labels))
    assert changes > 2 * len(set(labels))


@pytest.mark.parametrize("spec", SPECS)
def test_behaviour_is_that_of_the_own_class_only(spec):
    made = build_task(spec)
    by_class = {row.label: row.response for row in made.train}
    for query in made.queries:
        assert made.behaves(query, query.response)
        assert made.behaves(query, f"  {query.response}\nAnd so on.") or spec.startswith("backdoor")
        assert not made.behaves(query, "")
        for label, response in by_class.items():
            if label != query.label:
                assert not made.behaves(query, response)


@pytest.mark.parametrize("spec", SPECS)
def test_rows_are_short(spec):
    made = build_task(spec)
    words = [len(f"{row.prompt} {row.response}".split()) for row in (*made.train, *made.queries)]
    assert max(words) <= 30


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("size", [TaskSize(10**9), TaskSize(queries_per_class=10**9)])
def test_more_rows_than_there_are_name_the_limit(spec, size):
    with pytest.raises(SettingError, match=r"\d{10} .*asked for, at most \d+ different"):
        build_task(spec, size)


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("grammars:hard", "'hard'. Write plain grammars"),
        ("math:x", "Write plain math"),
        ("emotion:x", "Write plain emotion"),
        ("backdoor:2", "'2'. Write backdoor:1, backdoor:3, backdoor:5"),
        ("harmful:XL", "'XL'. Write harmful:S, harmful:M, harmful:L"),
        ("nothing", "Tasks: backdoor, emotion, facts, filtering, grammars, .*twins"),
    ],
)
def test_unknown_names_and_arguments_list_the_known(spec, match):
    with pytest.raises(SettingError, match=match):
        build_task(spec)


def test_every_task_is_described_in_a_line():
    found = list_tasks()
    names = "backdoor emotion facts filtering grammars harmful math mislabelled paper twins"
    assert list(found) == names.split()
    assert all(40 < len(about) < 100 for about in found.values())
    assert len(set(found.values())) == len(found)


@pytest.mark.parametrize("settings", [{"train_per_class": 0}, {"queries_per_class": -1}])
def test_sizes_start_at_one(settings):
    with pytest.raises(SettingError, match=f"{next(iter(settings))} is"):
        TaskSize(**settings)


def test_seeds_start_at_zero():
    with pytest.raises(SettingError, match="the seed is -1"):
        build_task("math", seed=-1)


def rows_of(*labels):
    return tuple(Example.of(f"r{i}", "p", "r", label=label) for i, label in enumerate(labels))


@pytest.mark.parametrize(
    ("train", "queries", "match"),
    [
        ((), rows_of("a"), "no training rows"),
        (rows_of("a", None), rows_of("a"), "row 'r1' has no label"),
        (rows_of("a"), rows_of("a", "b"), r"query 'r1' .* class 'b', which no training row has"),
        (rows_of("a") * 2, rows_of("a"), "id 'r0' occurs twice among the training rows"),
        (rows_of("a"), rows_of("a") * 2, "id 'r0' occurs twice among the queries"),
    ],
)
def test_tasks_that_cannot_be_judged_are_refused(train, queries, match):
    with pytest.raises(SettingError, match=match):
        Task("t", train, queries, lambda query, generated: True, "about")


def test_a_sample_per_class_keeps_the_order():
    rows = rows_of(*"abcabcabcab")
    kept = per_class(rows, 2, seed=1)
    assert Counter(row.label for row in kept) == {"a": 2, "b": 2, "c": 2}
    assert list(kept) == [row for row in rows if row in kept]
    assert per_class(rows, None, seed=1) == rows
    assert per_class(rows, 99, seed=1) == rows
    assert per_class(rows, 2, seed=1) == kept
    assert len({per_class(rows, 2, seed=seed) for seed in range(9)}) > 1


def test_a_grid_holds_every_combination_once():
    grid = Grid(lambda *values: values, "abc", (1, 2), "xy")
    assert len(grid) == 12
    assert len({grid[index] for index in range(12)}) == 12
    assert grid[0] == ("a", 1, "x")
    with pytest.raises(IndexError):
        grid[12]


def test_tasks_of_other_packages_are_found_and_broken_ones_named(monkeypatch):
    def tiny(size, seed, argument):
        """One row."""
        return Task("tiny", rows_of("a"), rows_of("a"), lambda q, g: True, argument)

    plugins = [Plugin("tiny", tiny), Plugin("broken", ImportError("no torchx"))]
    monkeypatch.setattr(registry, "entry_points", lambda group: plugins)
    assert build_task("tiny:C:\\data").about == "C:\\data"
    assert list_tasks()["tiny"] == "One row."
    assert "no torchx" in list_tasks()["broken"]
    with pytest.raises(SettingError, match="elsewhere:thing"):
        build_task("broken")


def test_a_name_can_be_taken_once():
    with pytest.raises(SettingError, match="two tasks are called 'math'"):
        task("math")(lambda size, seed, argument: None)
