"""Which checkpoints are looked at, and for how much of the run each stands."""

import json

import numpy as np
import pytest

from wherefrom.errors import StoreError
from wherefrom.models import middles, read_checkpoints


def trajectory(folder, rates, ends):
    for end in ends:
        saved = folder / f"step-{end:06d}"
        saved.mkdir()
        (saved / "state.json").write_text(json.dumps({"step": end}))
    steps = [{"rows": [], "learning_rate": rate, "loss": 0.0} for rate in rates]
    (folder / "steps.json").write_text(json.dumps(steps))
    return folder


def test_all_of_them_stand_for_the_steps_since_the_one_before(tmp_path):
    found = read_checkpoints(trajectory(tmp_path, [4.0, 3, 2, 1], [1, 4]), 2)
    assert [(one.step, one.steps, one.rate) for one in found] == [(1, 1, 4.0), (4, 3, 2.0)]


def test_a_few_are_those_in_the_middles_of_equal_parts_of_the_learning_rate(tmp_path):
    rates = np.linspace(12, 1, 12)  # 78 in all: a third is spent after 2.4 steps, two after 5.4
    found = read_checkpoints(trajectory(tmp_path, rates, range(1, 13)), 3)
    # 13, 39 and 65 are the middles; 12, 42 and 63 are the nearest sums
    assert [one.name for one in found] == ["step-000001", "step-000004", "step-000007"]
    assert [one.rate * one.steps for one in found] == pytest.approx([26.0] * 3)
    assert sum(one.steps for one in found) == 12
    assert [one.steps for one in found] == [2, 3, 7]


def test_a_run_of_few_learning_rates_is_cut_all_the_same(tmp_path):
    # all that was learnt was learnt in one step
    found = read_checkpoints(trajectory(tmp_path, [0, 0, 0, 0, 0, 1.0], range(1, 7)), 3)
    assert [one.steps for one in found] == [1, 4, 1]
    assert [one.rate * one.steps for one in found] == pytest.approx([1 / 3] * 3)
    (tmp_path / "flat").mkdir()
    assert len(read_checkpoints(trajectory(tmp_path / "flat", [0.0] * 6, range(1, 7)), 3)) == 3


def test_each_middle_is_taken_once():
    spent = np.array([0.3, 0.55, 0.75, 0.89, 0.97, 1.0])
    assert middles(spent, 3) == [0, 1, 3]
    assert middles(spent, 1) == [1]
    for parts in range(1, 7):
        found = middles(spent, parts)
        assert found == sorted(set(found))
        assert len(found) == parts


def test_a_checkpoint_behind_the_last_step_is_told(tmp_path):
    with pytest.raises(StoreError, match=r"step-000009: .*steps\.json knows no step of it"):
        read_checkpoints(trajectory(tmp_path, [1.0] * 4, [2, 9]), 1)
