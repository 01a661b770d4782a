"""Indexing: one pass over a set of rows, into stores or into memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wherefrom.capture import Coverage, Pass, capture, find_targets
from wherefrom.curvature import FactorSums
from wherefrom.data import BatchPlan, Example, Renderer, TokenRow, plan_batches
from wherefrom.errors import ModelError
from wherefrom.identity import digest_value
from wherefrom.models import LoadedModel
from wherefrom.progress import say
from wherefrom.run._config import IndexSettings
from wherefrom.signals import JoinedSignals, Kind, MemorySignals, Need, Sink, Source
from wherefrom.store import FactorStore, SignalStore, read_factors

_CHUNK_BYTES = 128e6
_FACTORS = Need(Kind.FACTORS).slug
_LOSSES = Need(Kind.LOSS).slug


@dataclass(frozen=True)
class Indexed:
    """What a pass over rows came to.

    Attributes:
        source: the signals.
        factors: Kronecker factors, where they were asked for.
        coverage: how much of what was trained the gradients cover.
        note: which rows lost their end to the length limit, as the person was told before the pass; None
            when none did.
    """

    source: Source
    factors: FactorSums | None
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
    quiet: bool = False,
) -> Indexed:
    """Captures the signals of rows.

    Args:
        loaded: the model in the state that is to be read.
        renderer: template and recipe.
        rows: examples, queries or reference answers.
        needs: which signals; sides and states are not looked at.
        settings: batches and precision.
        folder: where the stores go, one for each kind of signal; memory when None. An interrupted store
            is taken up where it stopped, and what an earlier pass left is not captured again.
        restart: throw away what the stores hold.
        what: what the rows are called in messages.
        quiet: show no bar, and do not say which rows are too long.

    Raises:
        ModelError: with `strict`, when some trainable parameter cannot be traced.
        IdentityError: a store holds signals of something else.
    """
    tokens = renderer.render_all(rows)
    note = truncation_note(tokens, renderer.recipe.max_length, what)
    if note and not quiet:
        say(f"warning: {note}")
    run = _pass(loaded, renderer, settings, needs)
    if run.targets and run.coverage.share < 1 and settings.strict:
        raise ModelError(f"--strict: {run.coverage.describe()}.")
    plan = _plan(loaded, tokens, settings)
    ids = tuple(row.id for row in rows)
    identity = {
        **loaded.identity,
        **renderer.identity(),
        "rows": digest_value([row.digest() for row in tokens]),
    }
    wanted = _slugs(needs)
    arrays = {slug: found for slug, found in run.arrays(tokens).items() if slug in wanted}
    traced = identity | {"blocks": digest_value([[b.name, list(b.shape)] for b in run.blocks])}
    factors: FactorStore | None = None
    if any(need.kind is Kind.FACTORS for need in needs):
        place = None if folder is None else folder / _FACTORS
        factors = FactorStore(place, len(plan.chunks), traced, restart=restart)
    sinks: list[tuple[frozenset[str], Sink]] = []
    sources: list[Source] = []
    done: set[str] = set()
    for slug, found in arrays.items():
        gradients = slug.startswith(Need(Kind.GRADIENT).slug) and run.blocks
        own = (traced if gradients else identity) | _projection(slug, settings)
        blocks = run.blocks if gradients else ()
        store: SignalStore | MemorySignals
        if folder is None:
            sizes = [sum(len(batch) for batch in chunk) for chunk in plan.chunks]
            store = MemorySignals(ids, blocks, found, plan.order, sizes, own)
        else:
            path = folder / f"{slug}.zarr"
            store = SignalStore.create(path, ids, blocks, found, plan, own, restart=restart)
        sinks.append((frozenset(array.name for array in found), store))
        sources.append(store)
        if not store.missing():
            done.add(slug)
    if factors is not None and not factors.missing():
        done.add(_FACTORS)
    label = None if quiet else what if folder is None else f"index {what}"
    # what is there already costs no backward pass again
    rest = frozenset(need for need in needs if need.slug not in done)
    capture(_pass(loaded, renderer, settings, rest), tokens, plan, sinks, label, factors)
    sums = factors.sums if factors is not None else None
    return Indexed(JoinedSignals(sources), sums, run.coverage, note)


def stored(folder: Path, needs: frozenset[Need]) -> tuple[Source, FactorSums | None]:
    """The signals that a pass into `folder` left.

    Raises:
        StoreError: some were not captured, or not to the end.
    """
    sources = [SignalStore.open(folder / f"{slug}.zarr") for slug in sorted(_slugs(needs))]
    wants_factors = any(need.kind is Kind.FACTORS for need in needs)
    return JoinedSignals(sources), read_factors(folder / _FACTORS) if wants_factors else None


def absent(folder: Path, needs: frozenset[Need]) -> list[str]:
    """Kinds of signals that no pass into `folder` was made for."""
    slugs = sorted({need.slug for need in needs})
    return [s for s in slugs if not ((folder / f"{s}.zarr").exists() or (folder / s).exists())]


def bytes_per_row(
    loaded: LoadedModel, tokens: Sequence[TokenRow], needs: frozenset[Need], settings: IndexSettings
) -> int:
    """Bytes that one row's signals take."""
    run = Pass(
        loaded.model, needs, blocks=settings.blocks, error_dimension=settings.error_dimension
    )
    wanted = {need.slug for need in needs}
    found = run.arrays(tokens)
    return sum(a.row_bytes for slug in found if slug in wanted for a in found[slug])


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


def _slugs(needs: frozenset[Need]) -> set[str]:
    """Stores of rows that needs come to: one at least, since ids and identity are read from it."""
    return {need.slug for need in needs} - {_FACTORS} or {_LOSSES}


def _pass(
    loaded: LoadedModel, renderer: Renderer, settings: IndexSettings, needs: frozenset[Need]
) -> Pass:
    return Pass(
        loaded.model,
        needs,
        reduction=renderer.recipe.reduction,
        pad_id=loaded.pad_id,
        padding_side=settings.padding_side,
        blocks=settings.blocks,
        error_dimension=settings.error_dimension,
    )


def _plan(loaded: LoadedModel, tokens: Sequence[TokenRow], settings: IndexSettings) -> BatchPlan:
    """Batches and chunks, the same whatever is read, so that later kinds of signals fit earlier ones."""
    try:
        targets, _ = find_targets(loaded.model, settings.blocks)
        sizes = [b.size for t in targets for b in (t.weight, t.bias) if b is not None]
    except ModelError:
        sizes = []
    chunk_rows = max(1, min(64, int(_CHUNK_BYTES / max(1, 4 * sum(sizes)))))
    return plan_batches(tokens, batch_tokens=settings.batch_tokens, chunk_rows=chunk_rows)


def _projection(slug: str, settings: IndexSettings) -> dict[str, Any]:
    """What of the settings changes a kind of signal."""
    if slug == Need(Kind.ERROR).slug:
        return {"token error dimension": settings.error_dimension}
    return {}
