"""Indexing: one pass over a set of rows, into stores or into memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from wherefrom.capture import Capture, Coverage, Pass, can_fork, find_targets
from wherefrom.curvature import FactorSums, projected_block
from wherefrom.data import BatchPlan, Example, Renderer, TokenRow, plan_batches
from wherefrom.errors import ModelError
from wherefrom.identity import digest_value
from wherefrom.models import LoadedModel
from wherefrom.place import Place
from wherefrom.progress import say
from wherefrom.run._config import IndexSettings
from wherefrom.signals import (
    Block,
    JoinedSignals,
    Kind,
    MemorySignals,
    Need,
    SignalArray,
    Sink,
    Source,
)
from wherefrom.store import FactorStore, SignalStore, read_factors
from wherefrom.world import World

_CHUNK_BYTES = 128e6
_LEAST, _MOST, _CHUNKS, _MANY = 4, 64, 16, 1000
"""Rows of a chunk: 4 to 64, for about 16 chunks; of very many rows, more, for about 1,000."""
_CPU_TOKENS, _ACCELERATOR_TOKENS = 512, 4096
_SHORT = 2e11
"""Operations of a pass that are not worth a second process."""
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
    folder: Place | None = None,
    *,
    restart: bool = False,
    what: str = "query",
    quiet: bool = False,
    share: World | None = None,
) -> Indexed:
    """Captures the signals of rows.

    Args:
        loaded: the model in the state that is to be read.
        renderer: template and recipe.
        rows: examples, queries or reference answers.
        needs: which signals; sides and states are not looked at.
        settings: batches, precision, policy and workers, settled.
        folder: where the stores go, one for each kind of signal; memory when None. An interrupted store
            is taken up where it stopped, and what an earlier pass left is not captured again.
        restart: throw away what the stores hold.
        what: what the rows are called in messages.
        quiet: show no bar, and do not say which rows are too long.
        share: the processes that make this pass together, all of which must call; this one alone if None.

    Raises:
        ModelError: with `strict`, when some trainable parameter cannot be traced.
        IdentityError: a store holds signals of something else.
    """
    tokens = renderer.render_all(rows)
    note = truncation_note(tokens, renderer.recipe.max_length, what)
    if note and not quiet:
        say(f"warning: {note}")
    run = pass_of(loaded, renderer, settings, needs)
    if run.targets and run.coverage.share < 1 and settings.strict:
        raise ModelError(f"--strict: {run.coverage.describe()}.")
    plan = _plan(loaded, tokens, settings, _weights(run.targets))
    identity = {
        **loaded.identity,
        **renderer.identity(),
        "rows": digest_value([row.digest() for row in tokens]),
    }
    traced = identity | {"blocks": digest_value([[b.name, list(b.shape)] for b in run.blocks])}
    traced |= {"projection": run.project} if run.project else {}
    here = World() if folder is None or share is None else share
    sinks: list[tuple[frozenset[str], Sink]] = []
    sources: list[Source] = []
    done: set[str] = set()
    wants_factors = any(need.kind is Kind.FACTORS for need in needs)
    in_memory: FactorStore | None = None
    if wants_factors and folder is None:
        in_memory = FactorStore(None, len(plan.chunks), traced)

    def factors(writer: int, *, anew: bool = False) -> FactorStore:
        if folder is None:
            assert in_memory is not None
            return in_memory
        place = folder / _FACTORS
        return FactorStore(place, len(plan.chunks), traced, restart=anew, part=writer)

    with here.first_goes_first():
        anew = restart and here.first
        for slug, found in _arrays(run, tokens, needs).items():
            gradients = slug.startswith(Need(Kind.GRADIENT).slug) and run.blocks
            own = (traced if gradients else identity) | _projection(slug, settings)
            blocks = run.blocks if gradients else ()
            ids = tuple(row.id for row in rows)
            store: SignalStore | MemorySignals
            if folder is None:
                sizes = [sum(len(batch) for batch in chunk) for chunk in plan.chunks]
                store = MemorySignals(ids, blocks, found, plan.order, sizes, own)
            else:
                path = folder / f"{slug}.zarr"
                store = SignalStore.create(path, ids, blocks, found, plan, own, restart=anew)
            sinks.append((frozenset(array.name for array in found), store))
            sources.append(store)
            if not store.missing():
                done.add(slug)
        if wants_factors and not factors(here.rank, anew=anew).missing():
            done.add(_FACTORS)
    # what is there already costs no backward pass again
    rest = frozenset(need for need in needs if need.slug not in done)
    job = Capture(
        run if rest == needs else pass_of(loaded, renderer, settings, rest),
        tokens,
        plan,
        sinks,
        factors if wants_factors else None,
    )
    label = None if quiet else what if folder is None else f"index {what}"
    # a remote file system's connections do not survive a fork
    alone = not isinstance(folder, Path)
    job.run(label, 1 if alone else _workers(loaded, tokens, settings, here), here)
    here.wait()
    sums = None
    if in_memory is not None:
        sums = in_memory.sums
    elif wants_factors and folder is not None:
        sums = read_factors(folder / _FACTORS)
    return Indexed(JoinedSignals(sources), sums, run.coverage, note)


def stored(folder: Place, needs: frozenset[Need]) -> tuple[Source, FactorSums | None]:
    """The signals that a pass into `folder` left.

    Raises:
        StoreError: some were not captured, or not to the end.
    """
    sources = [SignalStore.open(folder / f"{slug}.zarr") for slug in sorted(_slugs(needs))]
    wants_factors = any(need.kind is Kind.FACTORS for need in needs)
    return JoinedSignals(sources), read_factors(folder / _FACTORS) if wants_factors else None


def absent(folder: Place, needs: frozenset[Need]) -> list[str]:
    """Kinds of signals that no pass into `folder` was made for."""
    slugs = sorted({need.slug for need in needs})
    return [s for s in slugs if not ((folder / f"{s}.zarr").exists() or (folder / s).exists())]


def bytes_per_row(
    loaded: LoadedModel, tokens: Sequence[TokenRow], needs: frozenset[Need], settings: IndexSettings
) -> int:
    """Bytes that one row's signals take."""
    run = Pass(
        loaded.model,
        needs,
        blocks=settings.blocks,
        error_dimension=settings.error_dimension,
        project=settings.project,
        half=bool(settings.half),
    )
    return sum(a.row_bytes for found in _arrays(run, tokens, needs).values() for a in found)


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


def _arrays(
    run: Pass, tokens: Sequence[TokenRow], needs: frozenset[Need]
) -> dict[str, list[SignalArray]]:
    wanted = _slugs(needs)
    return {slug: found for slug, found in run.arrays(tokens).items() if slug in wanted}


def pass_of(
    loaded: LoadedModel, renderer: Renderer, settings: IndexSettings, needs: frozenset[Need]
) -> Pass:
    """The pass that settings ask for."""
    return Pass(
        loaded.model,
        needs,
        reduction=renderer.recipe.reduction,
        pad_id=loaded.pad_id,
        padding_side=settings.padding_side,
        blocks=settings.blocks,
        error_dimension=settings.error_dimension,
        project=settings.project,
        half=bool(settings.half),
    )


def batch_tokens(loaded: LoadedModel, settings: IndexSettings) -> int:
    """Most tokens of a batch, by the settings or by the device."""
    if settings.batch_tokens is not None:
        return settings.batch_tokens
    on_cpu = next(loaded.model.parameters()).device.type == "cpu"
    return _CPU_TOKENS if on_cpu else _ACCELERATOR_TOKENS


def _workers(
    loaded: LoadedModel, tokens: Sequence[TokenRow], settings: IndexSettings, here: World
) -> int:
    """How many processes to fork: none for a short pass, and no more than memory has room for."""
    if here.size > 1 or not can_fork(loaded.model):
        return 1
    if settings.workers is not None:
        return settings.workers
    weights = sum(p.numel() for p in loaded.model.parameters())
    if 4.0 * weights * sum(len(row.ids) for row in tokens) < _SHORT:
        return 1
    vocabulary = loaded.model.config.get_text_config().vocab_size
    each = 12.0 * batch_tokens(loaded, settings) * vocabulary + 1e9
    free = psutil.virtual_memory().available
    return int(max(1, min(torch.get_num_threads(), free // each)))


def _weights(targets: Sequence[Any]) -> list[Block]:
    return [b for target in targets for b in (target.weight, target.bias) if b is not None]


def _plan(
    loaded: LoadedModel,
    tokens: Sequence[TokenRow],
    settings: IndexSettings,
    traced: Sequence[Block],
) -> BatchPlan:
    """Batches and chunks, the same whatever is read, so that later kinds of signals fit earlier ones.

    Args:
        loaded: the model.
        tokens: the rows.
        settings: of the pass.
        traced: weights as the model has them, where that is known already; looked for when empty.
    """
    blocks = list(traced)
    if not blocks:
        with suppress(ModelError):
            blocks = _weights(find_targets(loaded.model, settings.blocks)[0])
    k = settings.project
    row_bytes = 4 * sum((projected_block(b, k) if k else b).size for b in blocks)
    # small enough to be shared by workers and lost to a kill, large enough to be few files
    rows = min(max(_LEAST, -(-len(tokens) // _CHUNKS)), max(_MOST, len(tokens) // _MANY))
    rows = max(1, min(rows, int(_CHUNK_BYTES / max(1, row_bytes))))
    return plan_batches(tokens, batch_tokens=batch_tokens(loaded, settings), chunk_rows=rows)


def _projection(slug: str, settings: IndexSettings) -> dict[str, Any]:
    """What of the settings changes a kind of signal."""
    if slug == Need(Kind.ERROR).slug:
        return {"token error dimension": settings.error_dimension}
    return {}
