"""Attribution methods: one file a family, each registered by its decorator."""

from wherefrom.methods import _fisher, _gradient, _representation, _text  # noqa: F401
from wherefrom.methods._method import (
    BlockMethod,
    DirectMethod,
    Evidence,
    Method,
    method,
    parse_method,
    registered,
    select_methods,
    split_specs,
)
from wherefrom.methods._score import SHARED, Scored, score_all

__all__ = [
    "SHARED",
    "BlockMethod",
    "DirectMethod",
    "Evidence",
    "Method",
    "Scored",
    "method",
    "parse_method",
    "registered",
    "score_all",
    "select_methods",
    "split_specs",
]
