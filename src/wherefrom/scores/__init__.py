"""Scores: what every method ends in, and their files."""

from wherefrom.scores._files import read_matrix, read_scores, write_scores
from wherefrom.scores._scores import SIGN, Scores, TopK, ranking
from wherefrom.scores._self_influence import read_self_influence

__all__ = [
    "SIGN",
    "Scores",
    "TopK",
    "ranking",
    "read_matrix",
    "read_scores",
    "read_self_influence",
    "write_scores",
]
