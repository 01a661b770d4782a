"""Which rows each step of somebody else's training is made of, told by the sampler it draws from."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from torch.utils.data import BatchSampler, IterableDataset


class RowOrder:
    """The rows of every step, or the reason why they cannot be known.

    A collator does not know which rows it is given, so the sampler under the trainer's loader is listened
    to. What it draws runs ahead of the steps (loaders fetch in advance): draws wait in a line until the
    trainer says that a step is over. Whatever does not add up makes the whole order unknown.

    Args:
        why: the reason why it cannot be known; None while it can.

    Attributes:
        why: as above.
        rows: how many rows the trainer's data set has; None where nobody can tell.
    """

    def __init__(self, why: str | None = None) -> None:
        self.why = why
        self.rows: int | None = None
        self._drawn: deque[list[int]] = deque()
        self._skip = 0
        self._open = False
        self._readings = 0
        self._ended = False

    @classmethod
    def of(cls, loader: Any, args: Any) -> RowOrder:
        """Listens to the sampler of a loader that was not read yet.

        Args:
            loader: what a Hugging Face trainer reads its training batches from.
            args: the trainer's arguments.
        """
        why = _unknowable(loader, args)
        order = cls(why)
        if why is None:
            order.rows = len(loader.dataset)
            batches = loader.batch_sampler
            held = batches.sampler
            # a second training by the same trainer may bring the same loader
            inner = held.inner if isinstance(held, _Overheard) else held
            batches.sampler = _Overheard(inner, batches.batch_size, batches.drop_last, order)
        return order

    def begin_epoch(self, skip: int = 0) -> None:
        """An epoch begins.

        Args:
            skip: batches that a resumed training draws and throws away.
        """
        self._drawn, self._skip = deque(), skip
        self._open, self._readings, self._ended = True, 0, False

    def take(self, batches: int) -> list[int] | None:
        """The rows of the step that is over, which took so many batches; None where not known."""
        while self._skip and self._drawn:
            self._drawn.popleft()
            self._skip -= 1
        if self.why is None and (self._skip or len(self._drawn) < batches):
            self.give_up("the trainer reads its rows past its own sampler")
        if self.why is not None:
            return None
        return [row for _ in range(batches) for row in self._drawn.popleft()]

    def end_epoch(self, *, whole: bool) -> None:
        """An epoch is over.

        Args:
            whole: it was not broken off.
        """
        self._open = False
        if whole and self._ended and self._drawn:
            self.give_up("the trainer did not take all rows that its sampler drew")

    def give_up(self, why: str) -> None:
        """From here on the order counts as unknown, that of the steps before too."""
        self.why = self.why or why
        self._drawn.clear()

    def reading(self) -> deque[list[int]]:
        """Somebody begins to read the sampler; returns where the drawn batches go."""
        line: deque[list[int]] = deque()
        if self._open:
            self._readings += 1
            if self._readings > 1:
                self.give_up("something else than the trainer read the training rows too")
            self._drawn = line
        return line

    def ended(self, line: deque[list[int]]) -> None:
        """A reading has come to its end."""
        if line is self._drawn:
            self._ended = True


class _Overheard:
    """A sampler whose every draw is told; in all else the sampler that it stands for."""

    def __init__(self, inner: Any, size: int, drop_last: bool, order: RowOrder) -> None:
        self.inner = inner
        self.size = size
        self.drop_last = drop_last
        self.order = order

    def __iter__(self) -> Iterator[Any]:
        line = self.order.reading()
        batch: list[int] = []
        for row in self.inner:
            try:
                batch.append(int(row))
            except (TypeError, ValueError):
                self.order.give_up("the sampler draws something else than row numbers")
            if len(batch) == self.size:
                line.append(batch)
                batch = []
            yield row
        if batch and not self.drop_last:
            line.append(batch)
        self.order.ended(line)

    def __len__(self) -> int:
        return len(self.inner)

    def __getattr__(self, name: str) -> Any:
        # accelerate asks samplers for set_epoch and generator
        if name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)


def _unknowable(loader: Any, args: Any) -> str | None:
    """Why the row order of a training run cannot be known; None when it can."""
    dataset = getattr(loader, "dataset", None)
    if args.world_size > 1:
        return f"{args.world_size} processes share the rows of a step"
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        return "the data set is a stream, whose rows have no numbers"
    columns = getattr(dataset, "column_names", None) or ()
    if getattr(args, "packing", False) or "seq_lengths" in columns:
        return "packing puts several examples into one row"
    if args.dataloader_num_workers > 1 and not args.dataloader_in_order:
        return "the loader's workers hand over batches in any order (dataloader_in_order=False)"
    if type(getattr(loader, "batch_sampler", None)) is not BatchSampler:
        return "the trainer forms its batches by a sampler of its own"
    return None
