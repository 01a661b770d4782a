"""Answers: what a trace found, as rows, groups, sources, tokens and numbers with a meaning."""

from wherefrom.answers._answer import COLUMNS, Answer, Line
from wherefrom.answers._by import Share, by_column, column_of
from wherefrom.answers._comparison import (
    LEVEL,
    Compared,
    Comparison,
    Effect,
    Placed,
    compared,
    in_order_of,
)
from wherefrom.answers._copies import Group, group_numbers, grouped
from wherefrom.answers._guilt import Guilt
from wherefrom.answers._guilty_rows import GuiltyGroup, GuiltyRow
from wherefrom.answers._null import Null
from wherefrom.answers._removal import (
    Calibration,
    calibrate,
    calibration_of,
    removal,
    size_of_removal,
    with_calibration,
)
from wherefrom.answers._tokens import Token, TokenEvidence, strongest_places

__all__ = [
    "COLUMNS",
    "LEVEL",
    "Answer",
    "Calibration",
    "Compared",
    "Comparison",
    "Effect",
    "Group",
    "Guilt",
    "GuiltyGroup",
    "GuiltyRow",
    "Line",
    "Null",
    "Placed",
    "Share",
    "Token",
    "TokenEvidence",
    "by_column",
    "calibrate",
    "calibration_of",
    "column_of",
    "compared",
    "group_numbers",
    "grouped",
    "in_order_of",
    "removal",
    "size_of_removal",
    "strongest_places",
    "with_calibration",
]
