"""Every method keeps the contract, a method that breaks it is caught, and one from outside passes."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from tiny import Plugin
from wherefrom import registry
from wherefrom.errors import SettingError
from wherefrom.methods import (
    BlockMethod,
    DirectMethod,
    Resource,
    Trait,
    parse_method,
    registered,
    select_methods,
)
from wherefrom.methods._modifiers import Modifiers
from wherefrom.signals import Kind, both, hidden_name
from wherefrom.testing import CHECKS, KINDS, MODES, ConformanceError, check_method, make_bench

HERE = Path(__file__).parent
PLUGIN = HERE / "plugin"
GUIDE = HERE.parent / "docs" / "adding-a-method.md"

MODIFIERS = (
    "normalise=block",
    "normalise=row",
    "centre=true",
    "whiten=1.0",
    "aggregate=rank",
    "aggregate=vote",
    "layers=last1",
    "tokens=first5",
    "tokens=balanced",
    "project=8",
    "curvature=true",
    "checkpoints=mean",
    "checkpoints=rate",
    "minus_base=true",
    "reference=true",
    # primal alone takes a minute where an output layer of 1,500 weights is traced
    "form=primal, project=8",
    "form=dual",
    "scope=whole, normalise=row, centre=true",
)
SPECS = [m.spec for m in select_methods(["all"])]
SPECS += [f"{name}({setting})" for name in ("influence", "gradient_dot") for setting in MODIFIERS]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spec", SPECS)
def test_every_method_keeps_the_contract(spec, kind, mode):
    report = check_method(spec, kinds=[kind], modes=[mode])
    assert [outcome.check for outcome in report.outcomes] == list(CHECKS)


def failed_checks(method, **options):
    with pytest.raises(ConformanceError) as caught:
        check_method(method, kinds=["llama"], modes=["lora"], **options)
    return caught.value


@dataclass(frozen=True)
class Honest(DirectMethod):
    """Inner product of mean response states, centred: simple, and everything that is asked."""

    name: ClassVar[str] = "honest"
    family: ClassVar[str] = "toy"
    strength: float = 1.0

    @property
    def needs(self):
        return both(Kind.HIDDEN)

    def score(self, evidence):
        train, query = evidence.read(hidden_name("mean_response"))
        train, query = (values[:, -1].astype(float) for values in (train, query))
        norms = [np.linalg.norm(values, axis=1, keepdims=True) for values in (query, train)]
        return self.strength * (query / norms[0]) @ (train / norms[1]).T


@dataclass(frozen=True)
class Upside(Honest):
    """Higher means less."""

    def score(self, evidence):
        return -super().score(evidence)


@dataclass(frozen=True)
class ByPlace(Honest):
    """Rows further down score higher."""

    def score(self, evidence):
        return super().score(evidence) + 0.01 * np.arange(len(evidence.train_rows))


@dataclass(frozen=True)
class ByOthers(Honest):
    """Takes the mean over queries off and does not say so."""

    def score(self, evidence):
        found = super().score(evidence)
        return found - found.mean(0) if len(found) else found


@dataclass(frozen=True)
class Unseeded(Honest):
    """Draws numbers that no seed decides."""

    def score(self, evidence):
        found = super().score(evidence)
        return found + 0.001 * np.random.default_rng().normal(size=found.shape)


@dataclass(frozen=True)
class Forgetful(Honest):
    """Keeps its settings to itself."""

    def settings(self):
        return {}


@dataclass(frozen=True)
class NotANumber(Honest):
    """Divides by nothing."""

    def score(self, evidence):
        return super().score(evidence) * np.nan


@dataclass(frozen=True)
class Transposed(Honest):
    """Training rows × queries."""

    def score(self, evidence):
        return super().score(evidence).T


@dataclass(frozen=True)
class Scribbler(Honest):
    """Writes into the signals it was given."""

    def score(self, evidence):
        train, query = evidence.read(hidden_name("mean_response"))
        train -= train.mean(0)
        return query[:, -1] @ train[:, -1].T


@dataclass(frozen=True)
class ById(Honest):
    """Prefers rows whose ids come late."""

    def score(self, evidence):
        return super().score(evidence) + 0.01 * np.array(
            [ord(row.id[-1]) for row in evidence.train_rows]
        )


@dataclass(frozen=True)
class Noisy(Honest):
    """Lives on the last bits of float32."""

    def score(self, evidence):
        found = super().score(evidence)
        return found + 1e5 * (found - found.astype(np.float32).astype(np.float16).astype(float)) % 1


@dataclass(frozen=True)
class Fragile(Honest):
    """Looks at the first query, whether there is one or not."""

    def score(self, evidence):
        assert evidence.query_rows[0]
        return super().score(evidence)


@dataclass(frozen=True)
class Blind(Honest):
    """Sees the prompt alone and does not say so."""

    def score(self, evidence):
        train, query = evidence.read(hidden_name("mean_prompt"))
        return query[:, -1].astype(float) @ train[:, -1].astype(float).T


@dataclass(frozen=True)
class Constant(Honest):
    """The same for everyone, said to be blind to the response."""

    @property
    def traits(self):
        return frozenset({Trait.RESPONSE_BLIND})

    def score(self, evidence):
        return np.ones((len(evidence.query_rows), len(evidence.train_rows)))


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (Upside, "sign"),
        (ByPlace, "row_order"),
        (ByOthers, "query_independence"),
        (Unseeded, "determinism"),
        (Forgetful, "shape_and_ids"),
        (NotANumber, "shape_and_ids"),
        (Transposed, "shape_and_ids"),
        (Scribbler, "shape_and_ids"),
        (ById, "duplicates"),
        (Noisy, "batch_size"),
        (Noisy, "padding_side"),
        (Fragile, "small_sets"),
        (Blind, "sign"),
        (Constant, "sign"),
    ],
)
def test_a_method_that_breaks_the_contract_is_caught_by_the_right_check(broken, check):
    error = failed_checks(broken)
    assert check in error.checks
    assert f"honest on llama/lora, {check}: " in str(error)


def test_an_honest_toy_passes_every_check_that_applies():
    report = check_method(Honest(strength=2.0), kinds=["llama"], modes=["lora"])
    assert {o.check for o in report.passed} == set(CHECKS) - {"declared_traits"}
    assert [o.skipped for o in report.skipped] == ["declares no trait that can be tested"]
    assert str(report).startswith("9 passed, 1 skipped, 0 failed")
    assert "honest(strength=2.0) on llama/lora, declared_traits: skipped" in str(report)


@pytest.mark.parametrize(
    "trait", [Trait.QUERY_SET, Trait.QUERY_FREE, Trait.RESPONSE_BLIND], ids=lambda t: t.name
)
def test_a_trait_declared_in_vain_is_caught(trait):
    @dataclass(frozen=True)
    class Claims(Honest):
        @property
        def traits(self):
            return frozenset({trait})

    error = failed_checks(Claims)
    assert error.checks == {"declared_traits"}
    assert f"declares {trait.name}, yet" in str(error)


@pytest.mark.parametrize(
    ("broken", "trait", "check"),
    [
        (ByOthers, Trait.QUERY_SET, "query_independence"),
        (Blind, Trait.RESPONSE_BLIND, "sign"),
        (ById, Trait.ROW_SET, "duplicates"),
    ],
    ids=["QUERY_SET", "RESPONSE_BLIND", "ROW_SET"],
)
def test_a_trait_that_is_declared_excuses(broken, trait, check):
    @dataclass(frozen=True)
    class Declared(broken):
        @property
        def traits(self):
            return frozenset({trait})

    only = [check, "declared_traits"]
    check_method(Declared, kinds=["llama"], modes=["lora"], only=only)


def test_no_scores_are_one_fault_and_keep_their_traceback():
    error = failed_checks(NotANumber)
    assert error.checks == {"shape_and_ids"}
    assert len(error.report.skipped) == len(CHECKS) - 1
    assert "NonFiniteError: honest gave nan for query 'query0'" in str(error)
    assert type(error.__cause__).__name__ == "NonFiniteError"


def test_one_fault_on_several_models_is_told_once():
    with pytest.raises(ConformanceError) as caught:
        check_method(Forgetful, kinds=["llama", "gemma"], modes=["lora"], only=["shape_and_ids"])
    assert str(caught.value).count("\n") == 0
    assert "llama/lora, gemma/lora, shape_and_ids: " in str(caught.value)


def test_a_missing_resource_skips_the_method_and_says_so():
    @dataclass(frozen=True)
    class Embeds(Honest):
        resources: ClassVar[frozenset[Resource]] = frozenset({Resource.EMBEDDER})

    report = check_method(Embeds, kinds=["llama"], modes=["lora"])
    assert {o.skipped for o in report.outcomes} == {f"needs {Resource.EMBEDDER.value}"}


def test_a_spec_that_is_not_read_back_is_caught(monkeypatch):
    @dataclass(frozen=True)
    class Listed(Honest):
        name: ClassVar[str] = "listed"
        chosen: tuple[int, ...] = ()

    monkeypatch.setattr(registry, "entry_points", lambda group: [Plugin("listed", Listed)])
    check_method(Listed(), kinds=["llama"], modes=["lora"], only=["shape_and_ids"])
    error = failed_checks(Listed(chosen=(1, 2)))
    assert error.checks == {"shape_and_ids"}


def test_a_class_is_checked_in_all_its_variants():
    report = check_method(
        registered()["repsim"], kinds=["llama"], modes=["lora"], only=["shape_and_ids"]
    )
    assert [o.method for o in report.passed] == [m.spec for m in registered()["repsim"].variants()]


def test_mistakes_in_the_call_are_told():
    @dataclass(frozen=True)
    class Nameless(BlockMethod):
        family: ClassVar[str] = "toy"

        def contribution(self, block):
            return {"score": block.fisher.cross}

    with pytest.raises(SettingError, match="Nameless has no name"):
        check_method(Nameless)
    with pytest.raises(SettingError, match="no check is called 'signs'"):
        check_method(Honest, only=["signs"])
    with pytest.raises(SettingError, match="no bench is called bert/lora"):
        check_method(Honest, kinds=["bert"])


def test_the_bench_was_really_fine_tuned():
    for mode in MODES:
        bench = make_bench("llama", mode)
        assert make_bench("llama", mode) is bench
        steps = json.loads((bench.folder / "trajectory" / "steps.json").read_text())
        losses = [step["loss"] for step in steps]
        assert np.mean(losses[-8:]) < np.mean(losses[:8]) - 0.3
        assert len(bench.states.checkpoints) == 3
        assert bench.states.base is not None
        assert bench.states.moments is not None
        assert len(bench.states_and_draws.draws) >= 2


def load_text(path, text):
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def test_the_guides_example_runs_and_is_the_plugin(tmp_path, monkeypatch):
    guide = GUIDE.read_text(encoding="utf-8")
    (block, _) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    plugin = (PLUGIN / "wherefrom_plugin_example.py").read_text(encoding="utf-8")
    assert block == plugin
    assert len([line for line in block.splitlines() if line]) <= 20
    cls = load_text(tmp_path / "from_the_guide.py", block).PowerCosine
    monkeypatch.delitem(sys.modules, "from_the_guide")
    monkeypatch.setattr(registry, "entry_points", lambda group: [Plugin("power_cosine", cls)])
    found = parse_method("power_cosine(power=5)")
    assert found == cls(power=5)
    scores = make_bench("llama", "lora").score(found)
    assert scores.settings["power"] == 5
    assert scores.for_query("query0").argmax() == scores.train_ids.index("fact0")


def test_the_guide_names_every_check_trait_modifier_and_need():
    guide = GUIDE.read_text(encoding="utf-8")
    names = [*CHECKS, *(t.name for t in Trait), *(f.name for f in fields(Modifiers))]
    names += [f"Kind.{kind.name}" for kind in Kind]
    names += [r.name for r in Resource]
    assert [name for name in names if f"`{name}`" not in guide] == []


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The plugin, installed by pip into a folder of its own; nothing is fetched."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(PLUGIN, folder / "source")
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    target = ["--target", str(folder / "site"), str(folder / "source")]
    command = [sys.executable, "-m", "pip", "install", "--quiet", *offline, *target]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return folder / "site"


def run_python(site, *arguments):
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_installed_package_brings_a_method(installed):
    listed = run_python(installed, "-m", "wherefrom", "list", "methods", "--format", "json")
    (line,) = [row for row in json.loads(listed) if row["name"] == "power_cosine"]
    assert line["cost"] == "one pass"
    assert "odd power" in line["about"]


def test_an_installed_method_is_parsed_and_keeps_the_contract(installed):
    code = (
        "from wherefrom.methods import parse_method\n"
        "from wherefrom.testing import check_method\n"
        "m = parse_method('power_cosine(power=5, normalise=row)')\n"
        "assert type(m).__module__ == 'wherefrom_plugin_example', type(m)\n"
        "print(check_method(m, kinds=['llama'], modes=['lora']))\n"
        "print(check_method('power_cosine', kinds=['llama'], modes=['lora']))\n"
    )
    assert run_python(installed, "-c", code).count("9 passed, 1 skipped, 0 failed") == 2
