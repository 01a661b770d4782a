"""bfloat16 is taken where it is fast and agrees with float32, and said no to where it does not."""

import numpy as np
import pytest
import torch

from tiny import row_dicts, tiny_rows, write_jsonl
from wherefrom.capture import BLOCK, WHOLE, agreement
from wherefrom.run import Run, _precision


def gradients(seed=0, **noise):
    """Two blocks of five rows, and the same with noise of a given size beside each."""
    rng = np.random.default_rng(seed)
    exact = {"a": rng.normal(size=(5, 4, 6)), "b": rng.normal(size=(5, 50))}
    rounded = {
        name: values + noise.get(name, 0.0) * rng.normal(size=values.shape)
        for name, values in exact.items()
    }
    return exact, rounded


def test_cosines_are_those_of_every_row_and_of_every_block():
    exact, rounded = gradients(a=0.3, b=0.1)
    found = agreement(exact, rounded)
    for row in range(5):
        one, other = (
            np.concatenate([part[row].ravel() for part in side.values()])
            for side in (exact, rounded)
        )
        expected = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
        assert found.rows[row] == pytest.approx(expected)
    for name in exact:
        one, other = exact[name].ravel(), rounded[name].ravel()
        expected = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
        assert found.blocks[name] == pytest.approx(expected)
    assert found.lowest_row == found.rows.min()
    assert found.lowest_block == ("a", found.blocks["a"])


@pytest.mark.parametrize(("noise", "good"), [({}, True), ({"a": 2.0}, False), ({"b": 0.3}, False)])
def test_both_bars_count(noise, good):
    found = agreement(*gradients(**noise))
    assert found.good == good
    assert good == (found.lowest_row >= WHOLE and found.lowest_block[1] >= BLOCK)


def test_nan_agrees_with_nothing_and_zero_blocks_are_left_out():
    exact, rounded = gradients()
    rounded["a"][2, 0, 0] = np.nan
    assert agreement(exact, rounded).lowest_row == -1
    exact, rounded = gradients()
    exact["a"][:], rounded["a"][:] = 0, 1e-9
    found = agreement(exact, rounded)
    assert list(found.blocks) == ["b"]
    assert found.good
    exact["b"][:] = 0
    assert agreement(exact, rounded).good


@pytest.fixture
def index(tmp_path, tiny_folder, cli):
    data = write_jsonl(tmp_path / "t.jsonl", row_dicts(tiny_rows(12)))

    def made(run, *options):
        about = ["--data", data, "--model", tiny_folder, "--methods", "gradient_dot"]
        return cli("index", tmp_path / run, *about, *options), tmp_path / run

    return made


@pytest.mark.parametrize("agrees", [True, False])
def test_auto_tries_both_and_keeps_to_what_came_of_it(index, cli, monkeypatch, agrees):
    monkeypatch.setattr(_precision, "has_fast_bfloat16", lambda: True)
    monkeypatch.setattr(_precision, "_SMALL", 0)
    tried = []
    real = _precision.agreement

    def watched(exact, rounded):
        tried.append((exact, rounded))
        found = real(exact, rounded)
        # a tiny model's gradients need not agree; the bars are tested above
        object.__setattr__(found, "rows", np.full(len(found.rows), 1.0 if agrees else 0.5))
        object.__setattr__(found, "blocks", dict.fromkeys(found.blocks, 1.0))
        return found

    monkeypatch.setattr(_precision, "agreement", watched)
    found, folder = index("run")
    assert found.code == 0, found.err
    chosen = "bfloat16" if agrees else "float32"
    assert f"precision of the pass: {chosen} (gradients of 4 rows in bfloat16" in found.err
    assert ("too far apart" in found.err) == (not agrees)
    (exact, rounded) = tried[0]
    assert exact.keys() == rounded.keys()
    assert all(not np.array_equal(exact[name], rounded[name]) for name in exact)
    run = Run.open(folder)
    assert run.passing.precision == chosen
    kinds = {p.dtype for p in run.model.model.parameters() if not p.requires_grad} or {
        p.dtype for p in run.model.model.parameters()
    }
    assert kinds == {getattr(torch, chosen)}
    # what is computed in half precision is kept in half precision
    assert run.passing.half == agrees
    again = cli("index", folder)
    assert again.code == 0
    assert len(tried) == 1, "settled once"
    assert (
        cli(
            "trace", folder, "--prompt", "who?", "--response", "me", "--methods", "gradient_dot"
        ).code
        == 0
    )


def test_bfloat16_that_overflows_is_not_taken(index, monkeypatch):
    from wherefrom.errors import NonFiniteError

    monkeypatch.setattr(_precision, "has_fast_bfloat16", lambda: True)
    monkeypatch.setattr(_precision, "_SMALL", 0)
    real = _precision._gradients

    def overflowing(run, loaded, rows):
        if next(loaded.model.parameters()).dtype is torch.bfloat16:
            raise NonFiniteError("row 'row-000003': loss is NaN or Inf.")
        return real(run, loaded, rows)

    monkeypatch.setattr(_precision, "_gradients", overflowing)
    found, _ = index("run")
    assert found.code == 0
    assert "precision of the pass: float32 (in bfloat16, row 'row-000003'" in found.err


@pytest.mark.parametrize(("fast", "why"), [(False, "does not multiply"), (True, "model is small")])
def test_without_fast_hardware_or_with_a_small_model_nothing_is_tried(
    index, monkeypatch, fast, why
):
    monkeypatch.setattr(_precision, "has_fast_bfloat16", lambda: fast)
    monkeypatch.setattr(_precision, "agreement", None)
    found, folder = index("run")
    assert found.code == 0, found.err
    assert why in found.err
    assert Run.open(folder).passing.precision == "float32"


def test_a_precision_that_is_asked_for_is_taken(index):
    found, folder = index("run", "--precision", "bfloat16")
    assert found.code == 0, found.err
    assert "precision of the pass" not in found.err
    assert Run.open(folder).passing.half
