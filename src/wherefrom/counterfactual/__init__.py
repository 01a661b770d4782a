"""Ground truth: the fine-tune done again on other rows, and what that does to the answers."""

from wherefrom.counterfactual._brittleness import brittleness, brittleness_summary
from wherefrom.counterfactual._cache import OutcomeCache
from wherefrom.counterfactual._curvature_comparison import (
    CurvatureComparison,
    compare_curvatures,
)
from wherefrom.counterfactual._exact_curvature import CURVATURES, Curvature, ExactCurvature
from wherefrom.counterfactual._files import read_outcome, read_retrainings, write_retrainings
from wherefrom.counterfactual._in_run import InRun, in_run_shapley
from wherefrom.counterfactual._leave_out import (
    Asked,
    leave_one_out,
    leave_top_out,
    removal_frame,
    retrain_on_subsets,
)
from wherefrom.counterfactual._outcome import OUTCOMES, Behaviour
from wherefrom.counterfactual._plan import TrainingPlan
from wherefrom.counterfactual._retrainer import Retrainer
from wherefrom.counterfactual._subsets import random_subsets, sizes, without_random, without_top
from wherefrom.counterfactual._support import support_by_retraining
from wherefrom.counterfactual._tail_patch import patch_gains, tail_patch
from wherefrom.counterfactual._training import Ending
from wherefrom.counterfactual._unroll import UnrollCost, Unrolled, unroll, unroll_cost
from wherefrom.counterfactual._workshop import Workshop, duration

__all__ = [
    "CURVATURES",
    "OUTCOMES",
    "Asked",
    "Behaviour",
    "Curvature",
    "CurvatureComparison",
    "Ending",
    "ExactCurvature",
    "InRun",
    "OutcomeCache",
    "Retrainer",
    "TrainingPlan",
    "UnrollCost",
    "Unrolled",
    "Workshop",
    "brittleness",
    "brittleness_summary",
    "compare_curvatures",
    "duration",
    "in_run_shapley",
    "leave_one_out",
    "leave_top_out",
    "patch_gains",
    "random_subsets",
    "read_outcome",
    "read_retrainings",
    "removal_frame",
    "retrain_on_subsets",
    "sizes",
    "support_by_retraining",
    "tail_patch",
    "unroll",
    "unroll_cost",
    "without_random",
    "without_top",
    "write_retrainings",
]
