"""Testing: the contract that every attribution method keeps, as checks that anyone can run."""

from wherefrom.testing._bench import MODES, Bench, make_bench
from wherefrom.testing._checks import CHECKS
from wherefrom.testing._conformance import ConformanceError, Outcome, Report, check_method
from wherefrom.testing._models import KINDS

__all__ = [
    "CHECKS",
    "KINDS",
    "MODES",
    "Bench",
    "ConformanceError",
    "Outcome",
    "Report",
    "check_method",
    "make_bench",
]
