"""The task that spoils a tenth of another task's rows: what is spoilt, what stays, who may know."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherefrom.errors import SettingError
from wherefrom.metrics import Truth
from wherefrom.tasks import TaskSize, build_task

WRAPPED = ["emotion", "backdoor", "backdoor:3", "grammars", "math", "twins", "twins:3"]


def flipped(made):
    return [place for place, row in enumerate(made.train) if row.metadata["mislabelled"]]


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), spec=st.sampled_from(WRAPPED), n_train=st.integers(2, 20))
def test_a_tenth_has_the_response_of_another_class_and_all_else_stays(seed, spec, n_train):
    size = TaskSize(n_train, 2)
    clean, made = (build_task(name, size, seed) for name in (spec, f"mislabelled:{spec}"))
    wrong = flipped(made)
    assert len(wrong) == max(1, round(len(clean.train) / 10))
    responses = {}
    for row in clean.train:
        responses.setdefault(row.label, set()).add(row.response)
    for place, (before, row) in enumerate(zip(clean.train, made.train, strict=True)):
        about = row.metadata
        assert about.items() >= before.metadata.items()
        assert row.prompt == before.prompt
        assert row.id == f"mislabelled-train-{place:04d}"
        assert about["prompt_class"] == before.label
        if place in wrong:
            assert row.label == "mislabelled"
            assert about["response_class"] != before.label
            assert row.response != before.response
            assert row.response in responses[about["response_class"]]
        else:
            assert (row.response, row.label) == (before.response, before.label)
            assert about["response_class"] == before.label
    assert set(clean.labels) <= set(made.labels)
    for before, query in zip(clean.queries, made.queries, strict=True):
        assert (query.messages, query.label) == (before.messages, before.label)
        assert made.behaves(query, before.response)
        assert not made.behaves(query, "")


@pytest.mark.parametrize("spec", WRAPPED)
def test_wrong_rows_are_relevant_to_no_query(spec):
    made, clean = build_task(f"mislabelled:{spec}"), build_task(spec)
    wrong = flipped(made)
    relevance = Truth.of(made).relevance
    assert not relevance[:, wrong].any()
    kept = np.setdiff1d(np.arange(len(made.train)), wrong)
    assert (relevance[:, kept] == Truth.of(clean).relevance[:, kept]).all()


def test_a_wrong_response_is_on_the_point():
    made, clean = build_task("mislabelled:twins:3"), build_task("twins:3")
    for row in (made.train[place] for place in flipped(made)):
        (twin,) = (
            other
            for other in clean.train
            if other.metadata["twin"] == row.metadata["twin"]
            and other.label == row.metadata["response_class"]
        )
        assert row.response == twin.response


def test_other_seeds_spoil_other_places():
    places = [set(flipped(build_task("mislabelled:emotion", seed=seed))) for seed in range(20)]
    assert len(set(map(frozenset, places))) == 20
    middle = np.mean([place for found in places for place in found])
    # 300 places, each from 0 to 149: a standard error of 2.5 around the middle.
    assert middle == pytest.approx(74.5, abs=10)


def test_every_class_keeps_a_right_row():
    for seed in range(10):
        made = build_task("mislabelled:emotion", TaskSize(2, 1), seed)
        assert len(set(made.labels) - {"mislabelled"}) == 5
    with pytest.raises(SettingError, match="Ask for 2 or more training rows of each class"):
        build_task("mislabelled:emotion", TaskSize(1, 1))


def test_a_task_without_argument_is_wrapped_by_default():
    assert build_task("mislabelled").name == "mislabelled:emotion"
    assert build_task("mislabelled:backdoor").name == "mislabelled:backdoor:1"
