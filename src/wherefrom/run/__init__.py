"""Runs: where the parts are put together."""

from wherefrom.run._answer import Answer
from wherefrom.run._ask import CounterfactualPlan, ask
from wherefrom.run._card import Card
from wherefrom.run._check import CheckPlan, check
from wherefrom.run._config import (
    DEFAULT_MODEL,
    IndexSettings,
    RunConfig,
    make_config,
    read_config,
    write_config,
)
from wherefrom.run._counterfactual import Findings, counterfactual, read_findings
from wherefrom.run._evaluation import (
    TESTS,
    concentrations,
    evaluate_run,
    judge_run,
    retrainings_of,
    truth_of,
)
from wherefrom.run._index import index_rows
from wherefrom.run._judged_files import evaluate_file
from wherefrom.run._kept_check import trust_of
from wherefrom.run._open import open_or_make
from wherefrom.run._pipeline import Finished, execute
from wherefrom.run._randomised import randomised_scores
from wherefrom.run._run import Run
from wherefrom.run._self_influence import self_influence
from wherefrom.run._study import StudyPlan, study
from wherefrom.run._trace import DEFAULT_METHOD

__all__ = [
    "DEFAULT_METHOD",
    "DEFAULT_MODEL",
    "TESTS",
    "Answer",
    "Card",
    "CheckPlan",
    "CounterfactualPlan",
    "Findings",
    "Finished",
    "IndexSettings",
    "Run",
    "RunConfig",
    "StudyPlan",
    "ask",
    "check",
    "concentrations",
    "counterfactual",
    "evaluate_file",
    "evaluate_run",
    "execute",
    "index_rows",
    "judge_run",
    "make_config",
    "open_or_make",
    "randomised_scores",
    "read_config",
    "read_findings",
    "retrainings_of",
    "self_influence",
    "study",
    "trust_of",
    "truth_of",
    "write_config",
]
