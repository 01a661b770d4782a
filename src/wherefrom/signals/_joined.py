"""Signals of one set of rows that lie in several stores, read as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from wherefrom.errors import StoreError
from wherefrom.identity import require_same
from wherefrom.signals._signals import Block, Source


class JoinedSignals:
    """Several sources of the same rows under the same identity, as one source.

    Args:
        sources: at least one.

    Raises:
        IdentityError: they were made from different models, templates or rows.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)
        first = self._sources[0]
        self._identity = dict(first.identity)
        for other in self._sources[1:]:
            # each kind of signal adds what it alone depends on: the traced blocks, a projection
            shared = self._identity.keys() & other.identity.keys()
            require_same(
                {key: self._identity[key] for key in shared},
                {key: other.identity[key] for key in shared},
                "some signals of the run",
                "others of it",
                "Index again with --restart.",
            )
            self._identity |= other.identity
        self._by_name = {name: source for source in self._sources for name in source.names()}

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the rows."""
        return self._sources[0].ids

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Blocks whose gradients are there."""
        return next((source.blocks for source in self._sources if source.blocks), ())

    @property
    def identity(self) -> dict[str, Any]:
        """What the signals were made from."""
        return dict(self._identity)

    def names(self) -> tuple[str, ...]:
        """Names of the arrays that are there."""
        return tuple(self._by_name)

    def read(self, name: str) -> np.ndarray:
        """One array, rows × its shape."""
        return self._holder(name).read(name)

    def stream(self, name: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The array a chunk at a time: row numbers, and their values."""
        return self._holder(name).stream(name)

    def chunks(self, names: Sequence[str]) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Several arrays of one source together, a chunk of rows at a time.

        Raises:
            StoreError: they do not lie in one source, whose chunks would go together.
        """
        holders = {id(self._holder(name)): self._holder(name) for name in names}
        if len(holders) > 1:
            raise StoreError(f"{', '.join(names)} do not lie in one store.")
        yield from next(iter(holders.values())).chunks(names)

    def _holder(self, name: str) -> Source:
        if name not in self._by_name:
            raise StoreError(
                f"the signals hold no {name}. Index again with a method that needs it; they have "
                f"{', '.join(sorted(self._by_name)[:6])} …"
            )
        return self._by_name[name]
