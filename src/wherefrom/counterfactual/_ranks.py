"""Ranks: the processes that `torchrun` or `accelerate launch` started, and this one among them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass


def _alone() -> None:
    return None


@dataclass(frozen=True)
class Ranks:
    """The processes that share a job.

    Attributes:
        index: number of this one, from 0.
        count: how many there are.
        wait: returns when all of them have called it.
    """

    index: int = 0
    count: int = 1
    wait: Callable[[], None] = _alone

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes results and speaks."""
        return self.index == 0

    @classmethod
    def launched(cls) -> Ranks:
        """Those of the launcher that started this process; this one alone where there was none."""
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            return cls()
        import torch
        from accelerate import PartialState

        state = PartialState(cpu=not torch.cuda.is_available())
        return cls(state.process_index, state.num_processes, state.wait_for_everyone)
