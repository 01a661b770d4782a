"""A model as a function of all its trained weights in one vector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, cast

import torch
from peft import PeftModel, get_peft_model_state_dict
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from wherefrom.data import TokenRow
from wherefrom.errors import ModelError
from wherefrom.models import CountedLosses, LoadedModel, counted_losses, pad_rows

Dtype = Literal["float32", "float64"]


class FlatModel:
    """A model whose trained weights come from outside, as one vector; its own are never touched.

    What is frozen is taken as the model holds it: weights that were rounded to bfloat16 stay rounded, and
    the arithmetic on them is that of `dtype`. (The norms of some architectures compute in float32
    whatever is asked; that costs digits, not the derivative.)

    Args:
        prepared: the model; what is trained has `requires_grad`.
        dtype: of all arithmetic.

    Attributes:
        names: of the trained parameters, in the order in which the vector holds them.
        sizes: how many entries each has.
        device: where the model is.
        dtype: of all arithmetic.
    """

    def __init__(self, prepared: LoadedModel, dtype: Dtype) -> None:
        self.dtype: torch.dtype = getattr(torch, dtype)
        self._model, self._pad_id = prepared.model, prepared.pad_id
        self._losses = _Losses(prepared.model)
        named = dict(prepared.model.named_parameters())
        trained = {name: p for name, p in named.items() if p.requires_grad}
        self._frozen = {
            f"model.{name}": p.detach().to(self.dtype) if p.is_floating_point() else p.detach()
            for name, p in named.items()
            if name not in trained
        }
        self._kept_as = _checkpoint_names(prepared.model, trained)
        self._shapes = [p.shape for p in trained.values()]
        self.names = list(trained)
        self.sizes = [p.numel() for p in trained.values()]
        self.device: torch.device = next(iter(named.values())).device

    def vector(self, state: Mapping[str, Tensor]) -> Tensor:
        """The trained weights of a checkpoint as one vector, (entries,).

        Raises:
            ModelError: they are not those of this model.
        """
        found = [state.get(self._kept_as[name]) for name in self.names]
        shapes = [None if t is None else t.shape for t in found]
        if shapes != self._shapes or len(state) != len(self.names):
            raise ModelError("the first weights of the run are those of another model or adapter.")
        flat = [cast(Tensor, t).reshape(-1) for t in found]
        return torch.cat(flat).to(self.device, self.dtype)

    def state(self, vector: Tensor) -> dict[str, Tensor]:
        """Trained weights by the names under which checkpoints keep them; on the CPU."""
        return {
            self._kept_as[name]: part.detach().cpu().clone()
            for name, part in self._parts(vector).items()
        }

    def losses(
        self, vector: Tensor, rows: Sequence[TokenRow], seed: int | None = None
    ) -> CountedLosses:
        """The loss of every counted token of some rows.

        Args:
            vector: (entries,), the trained weights; derivatives of any order go to it.
            rows: of one batch.
            seed: of dropout; without dropout when None.
        """
        weights = {f"model.{name}": part for name, part in self._parts(vector).items()}
        padded = pad_rows(rows, self._pad_id, self.device)
        # the fused attention kernels have no second derivative
        with self._mode(seed), sdpa_kernel(SDPBackend.MATH):
            found = functional_call(self._losses, self._frozen | weights, (), padded)
        return cast(CountedLosses, found)

    def _parts(self, vector: Tensor) -> dict[str, Tensor]:
        parts = zip(self.names, torch.split(vector, self.sizes), self._shapes, strict=True)
        return {name: part.view(shape) for name, part, shape in parts}

    @contextmanager
    def _mode(self, seed: int | None) -> Iterator[None]:
        was = self._model.training
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            if seed is not None:
                torch.manual_seed(seed)
            self._model.train(seed is not None)
            try:
                yield
            finally:
                self._model.train(was)


class _Losses(nn.Module):
    """The loss as a module, for `functional_call`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, **inputs: Any) -> CountedLosses:
        return counted_losses(self.model, **inputs)


def _checkpoint_names(model: Any, trained: Mapping[str, Tensor]) -> dict[str, str]:
    if not isinstance(model, PeftModel):
        return {name: name for name in trained}
    kept = get_peft_model_state_dict(model, state_dict=dict(trained))
    names = {id(tensor): name for name, tensor in kept.items()}
    return {name: names[id(tensor)] for name, tensor in trained.items()}
