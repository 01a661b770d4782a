"""Signals on disk."""

from wherefrom.store._store import SignalStore

__all__ = ["SignalStore"]
