"""Runs: where the parts are put together."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from wherefrom.run._config import (
    AT_THE_END,
    DEFAULT_METHOD,
    DEFAULT_MODEL,
    LEADING,
    IndexSettings,
    RunConfig,
    make_config,
    read_config,
    write_config,
)
from wherefrom.run._run import Run

if TYPE_CHECKING:
    from wherefrom.run._ask import CounterfactualPlan, ask
    from wherefrom.run._calibration import calibrated
    from wherefrom.run._card import Card
    from wherefrom.run._check import CheckPlan, check
    from wherefrom.run._compare import compare, read_other
    from wherefrom.run._counterfactual import Findings, counterfactual, read_findings
    from wherefrom.run._evaluation import (
        TESTS,
        concentrations,
        evaluate_run,
        judge_run,
        retrainings_of,
        truth_of,
    )
    from wherefrom.run._guilty import guilty, guilty_by
    from wherefrom.run._index import index_rows
    from wherefrom.run._judged_files import evaluate_file
    from wherefrom.run._kept_check import trust_of
    from wherefrom.run._named_rows import read_ids
    from wherefrom.run._open import open_or_make
    from wherefrom.run._pipeline import Finished, execute
    from wherefrom.run._prune import Pruned, Removed, prune
    from wherefrom.run._randomised import randomised_scores
    from wherefrom.run._retrain import Retrained, retrain
    from wherefrom.run._self_influence import self_influence
    from wherefrom.run._study import StudyPlan, study
    from wherefrom.run._target import PREFERRED, index_for, open_target
    from wherefrom.run._tokens import tokens_of
    from wherefrom.run._warm import WarmRun

_LATER = {
    "Card": "_card",
    "CheckPlan": "_check",
    "CounterfactualPlan": "_ask",
    "Findings": "_counterfactual",
    "Finished": "_pipeline",
    "Pruned": "_prune",
    "Removed": "_prune",
    "Retrained": "_retrain",
    "StudyPlan": "_study",
    "TESTS": "_evaluation",
    "WarmRun": "_warm",
    "PREFERRED": "_target",
    "ask": "_ask",
    "calibrated": "_calibration",
    "check": "_check",
    "compare": "_compare",
    "concentrations": "_evaluation",
    "counterfactual": "_counterfactual",
    "evaluate_file": "_judged_files",
    "evaluate_run": "_evaluation",
    "execute": "_pipeline",
    "guilty": "_guilty",
    "guilty_by": "_guilty",
    "index_for": "_target",
    "index_rows": "_index",
    "judge_run": "_evaluation",
    "open_or_make": "_open",
    "open_target": "_target",
    "prune": "_prune",
    "randomised_scores": "_randomised",
    "read_findings": "_counterfactual",
    "read_ids": "_named_rows",
    "read_other": "_compare",
    "retrain": "_retrain",
    "retrainings_of": "_evaluation",
    "self_influence": "_self_influence",
    "study": "_study",
    "tokens_of": "_tokens",
    "trust_of": "_kept_check",
    "truth_of": "_evaluation",
}
"""Names whose files are read when they are asked for: a pass needs neither checks nor retraining."""

__all__ = [
    "AT_THE_END",
    "DEFAULT_METHOD",
    "DEFAULT_MODEL",
    "LEADING",
    "PREFERRED",
    "TESTS",
    "Card",
    "CheckPlan",
    "CounterfactualPlan",
    "Findings",
    "Finished",
    "IndexSettings",
    "Pruned",
    "Removed",
    "Retrained",
    "Run",
    "RunConfig",
    "StudyPlan",
    "WarmRun",
    "ask",
    "calibrated",
    "check",
    "compare",
    "concentrations",
    "counterfactual",
    "evaluate_file",
    "evaluate_run",
    "execute",
    "guilty",
    "guilty_by",
    "index_for",
    "index_rows",
    "judge_run",
    "make_config",
    "open_or_make",
    "open_target",
    "prune",
    "randomised_scores",
    "read_config",
    "read_findings",
    "read_ids",
    "read_other",
    "retrain",
    "retrainings_of",
    "self_influence",
    "study",
    "tokens_of",
    "trust_of",
    "truth_of",
    "write_config",
]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(f"wherefrom.run.{_LATER[name]}"), name)
    raise AttributeError(f"module 'wherefrom.run' has no attribute {name!r}")
