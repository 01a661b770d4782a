"""Answers: what a trace found, as rows, groups, sources, tokens and numbers with a meaning."""

from wherefrom.answers._answer import COLUMNS, Answer, Line
from wherefrom.answers._by import Share, by_column, column_of
from wherefrom.answers._copies import Group, group_numbers, grouped
from wherefrom.answers._null import Null
from wherefrom.answers._removal import removal
from wherefrom.answers._tokens import Token, TokenEvidence

__all__ = [
    "COLUMNS",
    "Answer",
    "Group",
    "Line",
    "Null",
    "Share",
    "Token",
    "TokenEvidence",
    "by_column",
    "column_of",
    "group_numbers",
    "grouped",
    "removal",
]
