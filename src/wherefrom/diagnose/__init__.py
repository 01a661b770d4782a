"""Can an answer be trusted? The founding paper's mechanisms, sanity checks, and a verdict per answer."""

from wherefrom.diagnose._check import check, list_checks, run_checks
from wherefrom.diagnose._finding import GROUPS, LEVELS, Finding, Group, Level, NotMeasured
from wherefrom.diagnose._subject import BASE, FINAL, Probe, Stage, Subject
from wherefrom.diagnose._trust import WORDS, SpotCheck, TraceCheck, Trust, Verdict, Word

__all__ = [
    "BASE",
    "FINAL",
    "GROUPS",
    "LEVELS",
    "WORDS",
    "Finding",
    "Group",
    "Level",
    "NotMeasured",
    "Probe",
    "SpotCheck",
    "Stage",
    "Subject",
    "TraceCheck",
    "Trust",
    "Verdict",
    "Word",
    "check",
    "list_checks",
    "run_checks",
]
