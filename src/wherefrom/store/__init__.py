"""Signals on disk."""

from wherefrom.store._factors import FactorStore, read_factors
from wherefrom.store._grams import GramStore, reduce_to_grams
from wherefrom.store._space import free_space, require_space
from wherefrom.store._store import SignalStore

__all__ = [
    "FactorStore",
    "GramStore",
    "SignalStore",
    "free_space",
    "read_factors",
    "reduce_to_grams",
    "require_space",
]
