"""The model of a run in the precision of its pass; `auto` is settled once, by trying."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import torch

from wherefrom.capture import Pass, agreement
from wherefrom.data import Renderer, TokenRow
from wherefrom.errors import NonFiniteError, SettingError
from wherefrom.models import LoadedModel, has_fast_bfloat16, load_model
from wherefrom.progress import say
from wherefrom.signals import Kind, Need, gradient_name

if TYPE_CHECKING:
    from wherefrom.run._run import Run

_ROWS = 4
"""Rows that are tried in both precisions."""
_TOKENS = 256
_SMALL = 3e7
"""Weights below which bfloat16 gains nothing."""


def model_of(run: Run) -> LoadedModel:
    """The fine-tuned model, in the precision of the pass.

    Where that is `auto` and was not settled before, the gradients of a few rows are taken in float32 and
    in bfloat16, if the hardware multiplies that fast; what comes of it stays on the run's card.

    Raises:
        SettingError: the run was not fine-tuned yet.
    """
    precision = run.passing.precision
    if precision != "auto":
        return _loaded(run, precision)
    chosen, about, loaded = _settled(run)
    run.card.set("precision", {"is": chosen, "why": about})
    say(f"precision of the pass: {chosen} ({about})")
    return loaded


def _settled(run: Run) -> tuple[str, str, LoadedModel]:
    if not has_fast_bfloat16():
        return (
            "float32",
            "this machine does not multiply bfloat16 in hardware",
            _loaded(run, "float32"),
        )
    if run.config.quantize is not None:
        about = "its base is quantised: bfloat16 was not compared with float32"
        return "bfloat16", about, _loaded(run, "bfloat16")
    rounded = _loaded(run, "bfloat16")
    weights = sum(p.numel() for p in rounded.model.parameters())
    if weights < _SMALL:
        return "float32", "the model is small", _loaded(run, "float32")
    if not any(p.requires_grad for p in rounded.model.parameters()):
        return "float32", "nothing of it can be traced", _loaded(run, "float32")
    if 4.4 * weights > _free(rounded):
        about = f"float32 weights, {4 * weights / 1e9:.0f} GB, do not fit beside it to compare with"
        return "bfloat16", about, rounded
    rows = _middling(run, rounded)
    try:
        half = _gradients(run, rounded, rows)
    except NonFiniteError as error:
        return "float32", f"in bfloat16, {error}", _loaded(run, "float32")
    exact = _loaded(run, "float32")
    found = agreement(_gradients(run, exact, rows), half)
    if found.good:
        del exact
        gc.collect()
        return "bfloat16", found.describe(), rounded
    return "float32", f"{found.describe()}; too far apart", exact


def _loaded(run: Run, precision: Any) -> LoadedModel:
    config, tuned = run.config, run.tuned
    spec, adapter = config.model, config.adapter
    if config.finetune is not None:
        if tuned is None:
            raise SettingError(f"{run.path}: not fine-tuned yet.")
        spec, adapter = (str(tuned), None) if tuned.name == "model" else (spec, str(tuned))
    return load_model(
        spec,
        adapter,
        precision,
        device_map=config.device_map,
        quantize=config.quantize,
        trust_remote_code=config.trust_remote_code,
    )


def _middling(run: Run, loaded: LoadedModel) -> list[TokenRow]:
    """A few training rows of middling length."""
    rows = Renderer(loaded.tokenizer, run.config.recipes()[0]).render_all(run.train)
    order = np.argsort([len(row.ids) for row in rows], kind="stable")
    middle = len(order) // 2
    chosen: list[TokenRow] = []
    for index in order[max(0, middle - _ROWS) : middle + 1][::-1]:
        row = rows[int(index)]
        if chosen and (len(chosen) == _ROWS or sum(len(r.ids) for r in chosen) >= _TOKENS):
            break
        chosen.append(row)
    return chosen


def _gradients(run: Run, loaded: LoadedModel, rows: list[TokenRow]) -> dict[str, np.ndarray]:
    passes = Pass(
        loaded.model,
        frozenset({Need(Kind.GRADIENT)}),
        pad_id=loaded.pad_id,
        blocks=run.config.index.blocks,
        project=run.passing.project,
    )
    emitted = passes.run(rows)
    return {block.name: emitted[gradient_name(block.name)] for block in passes.blocks}


def _free(loaded: LoadedModel) -> float:
    """Bytes that are free where the model lies."""
    device = next(loaded.model.parameters()).device
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    return float(psutil.virtual_memory().available)
