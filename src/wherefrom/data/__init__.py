"""Rows, queries and how they become tokens."""

from wherefrom.data._batches import BatchPlan, plan_batches
from wherefrom.data._example import Example, Message, Query
from wherefrom.data._readers import read_examples
from wherefrom.data._recipe import RECIPES, Recipe, get_recipe
from wherefrom.data._render import Renderer, Tokenizer, TokenRow
from wherefrom.data._shapes import SHAPES, whole_text
from wherefrom.data._snapshot import read_snapshot, write_snapshot
from wherefrom.data._subset import ROW_ENDINGS, as_rows, copy_rows, write_rows

__all__ = [
    "RECIPES",
    "ROW_ENDINGS",
    "SHAPES",
    "BatchPlan",
    "Example",
    "Message",
    "Query",
    "Recipe",
    "Renderer",
    "TokenRow",
    "Tokenizer",
    "as_rows",
    "copy_rows",
    "get_recipe",
    "plan_batches",
    "read_examples",
    "read_snapshot",
    "whole_text",
    "write_rows",
    "write_snapshot",
]
