"""Signals on disk."""

from wherefrom.store._factors import FactorStore, read_factors
from wherefrom.store._store import SignalStore

__all__ = ["FactorStore", "SignalStore", "read_factors"]
