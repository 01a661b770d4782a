"""Indexing: the pass over a set of rows, into a store or into memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wherefrom.capture import Coverage, Pass, capture
from wherefrom.data import Example, Renderer, TokenRow, plan_batches
from wherefrom.errors import ModelError
from wherefrom.identity import digest_value
from wherefrom.models import LoadedModel
from wherefrom.progress import say
from wherefrom.run._config import IndexSettings
from wherefrom.signals import MemorySignals, Need, Source
from wherefrom.store import SignalStore

_CHUNK_BYTES = 256e6


@dataclass(frozen=True)
class Indexed:
    """What a pass over rows came to.

    Attributes:
        source: the signals.
        coverage: how much of what was trained they cover.
        note: which rows lost their end to the length limit, as the person was told before the pass; None
            when none did.
    """

    source: Source
    coverage: Coverage
    note: str | None


def index_rows(
    loaded: LoadedModel,
    renderer: Renderer,
    rows: Sequence[Example],
    needs: frozenset[Need],
    settings: IndexSettings,
    folder: Path | None = None,
    *,
    restart: bool = False,
    what: str = "query",
) -> Indexed:
    """Captures the signals of rows.

    Args:
        loaded: the fine-tuned model.
        renderer: template and recipe.
        rows: examples or queries.
        needs: which signals.
        settings: batches and precision.
        folder: the store; memory when None. An interrupted store is taken up where it stopped.
        restart: throw away what the folder holds.
        what: what the rows are called in messages.

    Raises:
        ModelError: with `strict`, when some trainable parameter cannot be traced.
        IdentityError: the store holds signals of something else.
    """
    tokens = renderer.render_all(rows)
    note = truncation_note(tokens, renderer.recipe.max_length, what)
    if note:
        say(f"warning: {note}")
    run = Pass(
        loaded.model,
        needs,
        reduction=renderer.recipe.reduction,
        pad_id=loaded.pad_id,
        padding_side=settings.padding_side,
        blocks=settings.blocks,
    )
    if Need.GRADIENT in needs and run.coverage.share < 1 and settings.strict:
        raise ModelError(f"--strict: {run.coverage.describe()}.")
    arrays = run.arrays(tokens)
    row_bytes = sum(array.row_bytes for array in arrays)
    plan = plan_batches(
        tokens,
        batch_tokens=settings.batch_tokens,
        chunk_rows=max(1, min(64, int(_CHUNK_BYTES / max(1, row_bytes)))),
    )
    ids = tuple(row.id for row in rows)
    identity = {
        **loaded.identity,
        **renderer.identity(),
        "blocks": digest_value([[b.name, list(b.shape)] for b in run.blocks]),
        "rows": digest_value([row.digest() for row in tokens]),
    }
    sink: SignalStore | MemorySignals
    label = what if folder is None else f"index {what}"
    if folder is None:
        sizes = [sum(len(batch) for batch in chunk) for chunk in plan.chunks]
        sink = MemorySignals(ids, run.blocks, arrays, plan.order, sizes, identity)
    else:
        total = sum(len(row.ids) for row in tokens)
        say(
            f"{label}: {len(rows)} rows, {total:,} tokens, {len(run.blocks)} blocks, "
            f"{len(rows) * row_bytes / 1e6:.0f} MB on disk"
        )
        sink = SignalStore.create(folder, ids, run.blocks, arrays, plan, identity, restart=restart)
    capture(run, tokens, plan, sink, label)
    return Indexed(sink, run.coverage, note)


def truncation_note(rows: Sequence[TokenRow], limit: int, what: str) -> str | None:
    """Names the rows that lost their end to the length limit; None when none did."""
    cut = [row.id for row in rows if row.truncated]
    if not cut:
        return None
    shown = ", ".join(cut[:5]) + (" …" if len(cut) > 5 else "")
    return (
        f"{len(cut)} of {len(rows)} {what} rows are longer than {limit} tokens and lost their end: "
        f"{shown}. Raise --max-length to keep them whole."
    )
