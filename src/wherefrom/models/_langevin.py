"""Weights drawn around the final ones by stochastic gradient Langevin dynamics (SGLD)."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from wherefrom.atomic import atomic_folder, mark_ours, read_json, remove_ours, write_json
from wherefrom.data import TokenRow
from wherefrom.errors import NonFiniteError
from wherefrom.identity import digest_value, require_same
from wherefrom.models._load import LoadedModel
from wherefrom.models._loss import counted_losses
from wherefrom.models._padding import pad_rows
from wherefrom.models._placement import input_device
from wherefrom.models._points import WEIGHTS, put_state, state_digest, trained_state
from wherefrom.progress import track

_STEP = 0.5
_BATCH = 8
_BETWEEN = 2
"""Steps from one draw to the next; at this step size a draw keeps (1 − ¼)² of the last one's deviation."""


def draw_weights(
    loaded: LoadedModel,
    rows: Sequence[TokenRow],
    folder: Path,
    count: int,
    radius: float,
    *,
    restart: bool = False,
) -> list[Path]:
    """Draws weights from exp(−nβL(w) − Σ(w − w*)²/2s²), s = `radius` × each matrix's root mean square.

    nβ = n/log n (2509.26544 leaves it open). The step is preconditioned by s²: a matrix moves on its own
    scale. The chain goes on from the last draw that is there, and every step's rows and noise depend on
    its number alone, so an interrupted chain ends in the same weights.

    Args:
        loaded: the final model; left as it was.
        rows: training rows.
        folder: a folder for each draw goes there.
        count: how many draws.
        radius: how far, as a share of the weights.
        restart: throw away what is there.

    Returns:
        The draws' folders, each with `weights.safetensors`.

    Raises:
        NonFiniteError: the chain diverged.
        IdentityError: the folder holds draws of another chain.
    """
    model: Any = loaded.model
    center = {n: t.float() for n, t in trained_state(model).items()}
    identity = {
        "weights": state_digest(center),
        "rows": digest_value([row.digest() for row in rows]),
        "radius": radius,
        **{key: str(value) for key, value in loaded.identity.items()},
    }
    if restart and folder.exists():
        remove_ours(folder)
    if (folder / "chain.json").is_file():
        require_same(
            read_json(folder / "chain.json"),
            identity,
            f"the draws in {folder}",
            "this job",
            "Use --restart to draw again.",
        )
    else:
        folder.mkdir(parents=True, exist_ok=True)
        mark_ours(folder)
        write_json(folder / "chain.json", identity)
    folders = [folder / f"draw-{i:03d}" for i in range(count)]
    done = sum(f.is_dir() for f in folders)
    if done == count:
        return folders
    spread = {n: radius * float(t.square().mean().sqrt()) for n, t in center.items()}
    typical = float(np.mean([s for s in spread.values() if s > 0] or [radius]))
    spread = {n: s if s > 0 else typical for n, s in spread.items()}
    heat = len(rows) / log(max(3, len(rows)))
    state = load_file(folders[done - 1] / WEIGHTS) if done else dict(center)
    state = {n: t.float() for n, t in state.items()}
    try:
        with track("draw weights", count, start=done) as advance:
            for index in range(done, count):
                for step in range(index * _BETWEEN, (index + 1) * _BETWEEN):
                    gradient = _gradient(loaded, rows, state, step)
                    state = _moved(state, center, gradient, spread, heat, step)
                if not all(bool(torch.isfinite(t).all()) for t in state.values()):
                    raise NonFiniteError(
                        f"the chain of draws diverged at draw {index}. Lower draw_radius ({radius})."
                    )
                with atomic_folder(folders[index]) as temporary:
                    mark_ours(temporary)
                    save_file(state, temporary / WEIGHTS)
                advance(1)
    finally:
        put_state(model, center)
    return folders


def _moved(
    state: dict[str, torch.Tensor],
    center: dict[str, torch.Tensor],
    gradient: dict[str, torch.Tensor],
    spread: dict[str, float],
    heat: float,
    step: int,
) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    found = {}
    for name, values in state.items():
        s = spread[name]
        noise = torch.randn(values.shape, generator=generator)
        drift = heat * s**2 * gradient[name] + (values - center[name])
        found[name] = values - _STEP / 2 * drift + _STEP**0.5 * s * noise
    return found


def _gradient(
    loaded: LoadedModel, rows: Sequence[TokenRow], state: dict[str, torch.Tensor], step: int
) -> dict[str, torch.Tensor]:
    """Gradient of the mean loss over a few rows, by the names of `state`."""
    model = loaded.model
    put_state(model, state)
    chosen = np.random.default_rng(step).choice(len(rows), min(_BATCH, len(rows)), replace=False)
    batch = [rows[int(i)] for i in chosen]
    padded = pad_rows(batch, loaded.pad_id, input_device(model))
    with torch.enable_grad():
        found = counted_losses(model, **padded)
        loss = (found.losses.sum(1) / found.counted.sum(1)).mean()
        wanted = [p for p in model.parameters() if p.requires_grad]
        gradients = torch.autograd.grad(loss, wanted, allow_unused=True)
    for parameter, gradient in zip(wanted, gradients, strict=True):
        parameter.grad = torch.zeros_like(parameter) if gradient is None else gradient
    found_gradients = trained_state(model, gradients=True)
    for parameter in wanted:
        parameter.grad = None
    return {name: values.float() for name, values in found_gradients.items()}
