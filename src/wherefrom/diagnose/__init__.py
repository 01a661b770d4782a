"""Can an answer be trusted? The founding paper's mechanisms, sanity checks, and a verdict per answer."""

# Importing a file of checks registers it.
from wherefrom.diagnose import (  # noqa: F401
    _base_model,
    _behaviour,
    _convergence,
    _curvature_agreement,
    _curvature_energy,
    _duplicates,
    _families,
    _lexical,
    _loss_mask,
    _outliers,
    _precision,
    _projection,
    _randomised,
    _rows_fit,
    _seeds,
    _self_retrieval,
    _template,
    _truncated,
    _weights,
)
from wherefrom.diagnose._check import check, list_checks, run_checks
from wherefrom.diagnose._curvature_survey import CurvatureSurvey, survey_curvature
from wherefrom.diagnose._duplicates import groups_of_copies
from wherefrom.diagnose._features import FEATURES, LEXICAL, Answers, features
from wherefrom.diagnose._finding import GROUPS, LEVELS, Finding, Group, Level, NotMeasured
from wherefrom.diagnose._spot_check import spot_checks
from wherefrom.diagnose._subject import BASE, FINAL, Probe, Stage, Subject
from wherefrom.diagnose._trust import WORDS, SpotCheck, TraceCheck, Trust, Verdict, Word
from wherefrom.diagnose._trust_file import read_trust
from wherefrom.diagnose._verdict import Rule, judge_run, judge_trace, shipped_rules

__all__ = [
    "BASE",
    "FEATURES",
    "FINAL",
    "GROUPS",
    "LEVELS",
    "LEXICAL",
    "WORDS",
    "Answers",
    "CurvatureSurvey",
    "Finding",
    "Group",
    "Level",
    "NotMeasured",
    "Probe",
    "Rule",
    "SpotCheck",
    "Stage",
    "Subject",
    "TraceCheck",
    "Trust",
    "Verdict",
    "Word",
    "check",
    "features",
    "groups_of_copies",
    "judge_run",
    "judge_trace",
    "list_checks",
    "read_trust",
    "run_checks",
    "shipped_rules",
    "spot_checks",
    "survey_curvature",
]
