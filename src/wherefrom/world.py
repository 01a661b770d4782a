"""World: the processes that `torchrun` or `accelerate launch` started to make a pass together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

_PATIENCE = timedelta(days=7)
"""How long a process waits for the others, whose share of a pass may take days."""


@dataclass(frozen=True)
class World:
    """One of the processes.

    Attributes:
        rank: which one, from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that prepares, prints and keeps the card."""
        return self.rank == 0

    def wait(self) -> None:
        """Returns when all processes have called it."""
        if self.size > 1:
            _state().wait_for_everyone()

    @contextmanager
    def first_goes_first(self) -> Iterator[None]:
        """Lets process 0 through the block before all others enter it."""
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()


def world() -> World:
    """The processes as the launcher's environment tells; one alone without a launcher."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    return World(int(os.environ.get("RANK", "0")), size) if size > 1 else World()


def _state() -> Any:
    import torch
    from accelerate import PartialState
    from accelerate.utils import InitProcessGroupKwargs

    options = InitProcessGroupKwargs(timeout=_PATIENCE).to_kwargs()
    return PartialState(cpu=not torch.cuda.is_available(), **options)
