"""What is kept of gradients: exact, projected or their products, by what the disk may hold."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from tiny import row_dicts, tiny_rows, write_jsonl
from wherefrom.curvature import projections
from wherefrom.errors import SettingError
from wherefrom.run import IndexSettings, Run, _policy
from wherefrom.signals import Policy, gradient_name
from wherefrom.store import SignalStore

TRAIN = "signals/sound-1/final/train/gradient.zarr"


@pytest.fixture
def index(tmp_path, tiny_folder, cli):
    data = write_jsonl(tmp_path / "t.jsonl", row_dicts(tiny_rows(14)))
    queries = write_jsonl(tmp_path / "q.jsonl", row_dicts(tiny_rows(18)[14:]))

    def made(run, *options, methods="gradient_dot,influence,repsim,ekfac"):
        about = ["--data", data, "--queries", queries, "--model", tiny_folder]
        return cli("index", tmp_path / run, *about, "--methods", methods, *options), tmp_path / run

    return made


def sizes(exact, half, projected):
    def size(settings, passes):
        if settings.policy == "projected":
            return projected
        return half if settings.half else exact

    return size


@pytest.mark.parametrize(
    ("limit", "adapter", "asked", "policy", "half"),
    [
        (100, True, {}, Policy.EXACT, False),
        (60, True, {}, Policy.EXACT, True),
        (60, True, {"half": False}, Policy.PROJECTED, False),
        (40, True, {}, Policy.PROJECTED, False),
        (40, True, {"policy": "exact"}, Policy.EXACT, True),
        (40, True, {"policy": "gram", "half": False}, Policy.GRAM, False),
        (100, True, {"policy": "projected"}, Policy.PROJECTED, False),
        (100, True, {"precision": "bfloat16"}, Policy.EXACT, True),
        (100, True, {"precision": "bfloat16", "half": False}, Policy.EXACT, False),
        (1e12, False, {}, Policy.EXACT, False),
    ],
)
def test_the_policy_is_what_fits(limit, adapter, asked, policy, half):
    settings = IndexSettings.model_validate({"precision": "float32"} | asked)
    found = _policy.choose_policy(settings, limit, [], sizes(100, 50, 5), adapter=adapter)
    assert (found.policy, found.half) == (policy, half)


def test_gradients_of_a_whole_model_are_projected_unless_they_are_small():
    settings = IndexSettings.model_validate({"precision": "float32"})
    found = _policy.choose_policy(settings, 1e12, [], sizes(3e9, 1.5e9, 5), adapter=False)
    assert found.policy is Policy.PROJECTED
    assert "all weights" in found.why


@pytest.mark.parametrize(
    ("text", "size"), [("20GB", 2e10), ("1.5 mb", 1.5e6), ("7", 7), ("2T", 2e12)]
)
def test_sizes_are_read(text, size):
    assert _policy.parse_size(text) == size


def test_what_is_no_size_is_refused():
    with pytest.raises(SettingError, match="500MB or 20GB"):
        _policy.parse_size("plenty")


def test_a_small_disk_budget_projects_and_leaves_out_what_needs_whole_gradients(index, cli):
    found, folder = index("run", "--disk", "60KB", "--projection", 3)
    assert found.code == 0, found.err
    assert "gradients are kept projected" in found.err
    assert "ekfac: Kronecker factors belong to whole weight matrices" in found.err
    run = Run.open(folder)
    store = SignalStore.open(folder / TRAIN)
    assert all(max(block.shape) <= 3 for block in store.blocks)
    assert store.identity["projection"] == 3
    scores = run.score()
    assert {spec for _, spec in scores} == {"gradient_dot", "influence", "repsim"}
    # a later question meets the same projection
    asked = run.trace(run.queries[0].prompt, run.queries[0].response, ["gradient_dot"])
    np.testing.assert_allclose(
        asked.scores[0].values[0], scores["sound-1", "gradient_dot"].values[0], rtol=1e-4, atol=1e-7
    )
    refused = cli("trace", folder, "--prompt", "a", "--response", "b", "--methods", "ekfac")
    assert refused.code == 2
    assert "Kronecker factors belong to whole weight matrices" in refused.err


def test_what_is_projected_in_the_pass_is_the_projection_of_what_is_kept_whole(index):
    found, whole = index("whole", "--policy", "exact", methods="gradient_dot(project=3)")
    assert found.code == 0, found.err
    found, small = index(
        "small", "--policy", "projected", "--projection", 3, methods="gradient_dot"
    )
    assert found.code == 0, found.err
    exact, projected = (SignalStore.open(folder / TRAIN) for folder in (whole, small))
    for block in exact.blocks:
        left, right = projections(block, 3)
        values = exact.read(gradient_name(block.name)).astype(np.float64)
        values = values.reshape(len(values), block.shape[0], -1)
        values = values if left is None else left @ values
        values = values if right is None else values @ right.T
        got = projected.read(gradient_name(block.name))
        np.testing.assert_allclose(
            got.reshape(values.shape), values, rtol=1e-4, atol=1e-5 * abs(values).max()
        )
    one = Run.open(whole).score()["sound-1", "gradient_dot(project=3)"].values
    other = Run.open(small).score()["sound-1", "gradient_dot"].values
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5 * abs(one).max())


def test_another_policy_is_refused_unless_all_is_made_anew(index, cli):
    found, folder = index("run", methods="gradient_dot")
    assert found.code == 0, found.err
    refused = cli("index", folder, "--policy", "projected")
    assert refused.code == 2
    assert "kept with policy exact, not projected. Use --restart" in refused.err
    refused = cli("index", folder, "--half")
    assert refused.code == 2
    assert "kept with half False, not True" in refused.err
    again = cli("index", folder, "--policy", "projected", "--restart")
    assert again.code == 0, again.err
    assert SignalStore.open(folder / TRAIN).identity["projection"] == 16


def test_half_precision_changes_scores_by_its_rounding_alone(index):
    methods = "gradient_dot,gradient_cosine,influence,datainf"
    found, whole = index("whole", "--no-half", methods=methods)
    assert found.code == 0, found.err
    found, half = index("half", "--half", methods=methods)
    assert found.code == 0, found.err
    one, other = Run.open(whole).score(), Run.open(half).score()
    for key, scores in one.items():
        gap = np.abs(scores.values - other[key].values).max()
        assert 0 < gap < 3e-3 * np.abs(scores.values).max(), key

    def size(folder):
        store = folder / "signals/sound-1/final/train/gradient.zarr"
        return sum(path.stat().st_size for path in store.rglob("*") if path.stat().st_size > 4096)

    assert size(half) < 0.75 * size(whole)


def test_what_the_disk_cannot_hold_is_refused_before_the_pass(index, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000))
    found, folder = index("run", "--policy", "exact")
    assert found.code == 2
    assert "are free" in found.err
    assert "index train" not in found.err
    assert not (folder / "signals").exists()
    # what is free decides too where nothing is asked for
    found, folder = index("small", "--projection", 1, methods="gradient_dot")
    assert "gradients are kept projected" in found.err


def test_signals_may_lie_behind_a_url(index, cli):
    found, here = index("here", methods="gradient_dot,ekfac")
    assert found.code == 0, found.err
    found, there = index(
        "there", "--signals", "memory://bucket/there", methods="gradient_dot,ekfac"
    )
    assert found.code == 0, found.err
    assert not (there / "signals").exists()
    one, other = Run.open(here).score(), Run.open(there).score()
    for key, scores in one.items():
        np.testing.assert_allclose(scores.values, other[key].values, rtol=1e-6)
    again = cli("index", there)
    assert "plan:" not in again.err, "all of it is there"


GRAM_METHODS = "gradient_dot,gradient_cosine,influence,datainf,repsim"


def test_products_alone_give_the_same_scores_and_refuse_other_questions(index, cli, tmp_path):
    found, whole = index("whole", "--policy", "exact", methods=GRAM_METHODS)
    assert found.code == 0, found.err
    found, folder = index("gram", "--policy", "gram", methods=f"{GRAM_METHODS},ekfac,logra")
    assert found.code == 0, found.err
    assert "only their products are kept" in found.err
    at_final = folder / "signals/sound-1/final"
    assert not (at_final / "train/gradient.zarr").exists()
    assert not (at_final / "queries/gradient.zarr").exists()
    one, other = Run.open(whole).score(), Run.open(folder).score()
    assert one.keys() == other.keys()
    for key, scores in one.items():
        np.testing.assert_allclose(
            scores.values, other[key].values, rtol=1e-5, atol=1e-6 * abs(scores.values).max()
        )

    stamps = {path: path.stat().st_mtime_ns for path in at_final.rglob("*") if path.is_file()}
    again = cli("index", folder)
    assert again.code == 0, again.err
    assert "index train" not in again.err
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps

    asked = ["--prompt", "a", "--response", "b", "--methods"]
    refused = cli("trace", folder, *asked, "gradient_dot")
    assert refused.code == 2
    assert "which refuses other questions than its own queries" in refused.err
    assert cli("trace", folder, *asked, "repsim").code == 0
    more = write_jsonl(tmp_path / "more.jsonl", row_dicts(tiny_rows(22)[18:]))
    for command in (["index", folder, "--queries", more], ["check", folder]):
        refused = cli(*command)
        assert refused.code == 2
        assert "let go" in refused.err


def test_products_that_were_interrupted_are_made_to_the_end(index, cli, monkeypatch):
    from wherefrom.store import GramStore

    found, whole = index("whole", "--policy", "exact", methods="influence")
    assert found.code == 0, found.err
    put, left = GramStore.put, [4]

    def dying(self, block, gram):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        put(self, block, gram)

    with monkeypatch.context() as patch:
        patch.setattr(GramStore, "put", dying)
        found, folder = index("gram", "--policy", "gram", methods="influence")
    assert found.code == 130
    assert (folder / "signals/sound-1/final/train/gradient.zarr").exists()
    found = cli("index", folder)
    assert found.code == 0, found.err
    one, other = Run.open(whole).score(), Run.open(folder).score()
    np.testing.assert_allclose(
        one["sound-1", "influence"].values, other["sound-1", "influence"].values, rtol=1e-4
    )


def test_products_need_queries(tmp_path, tiny_folder, cli):
    data = write_jsonl(tmp_path / "t.jsonl", row_dicts(tiny_rows(8)))
    about = ["--data", data, "--model", tiny_folder, "--methods", "influence", "--policy", "gram"]
    found = cli("index", tmp_path / "run", *about)
    assert found.code == 2
    assert "and there are none" in found.err
