"""Scores: what every method ends in, dense or from both ends alone, and their files."""

from wherefrom.scores._files import read_matrix, read_scores, read_top, write_scores, write_top
from wherefrom.scores._merge import Outermost
from wherefrom.scores._scores import SIGN, Scores, as_xarray
from wherefrom.scores._self_influence import read_self_influence
from wherefrom.scores._topk import Ranked, TopK, ranking, tiebreaks

__all__ = [
    "SIGN",
    "Outermost",
    "Ranked",
    "Scores",
    "TopK",
    "as_xarray",
    "ranking",
    "read_matrix",
    "read_scores",
    "read_self_influence",
    "read_top",
    "tiebreaks",
    "write_scores",
    "write_top",
]
