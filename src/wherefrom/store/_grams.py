"""Products of gradients on disk, block by block, where the gradients themselves are let go."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from wherefrom.atomic import mark_ours, read_json, remove_ours, write_bytes, write_json
from wherefrom.curvature import GramBlock
from wherefrom.errors import NonFiniteError, StoreError
from wherefrom.identity import digest_arrays, digest_value, require_same
from wherefrom.place import Place, names_in
from wherefrom.progress import track
from wherefrom.signals import Block, Source, gradient_name
from wherefrom.store._space import require_space

FORMAT = 1
_MANIFEST = "manifest.json"
_IDS = "ids.json"


class GramStore:
    """Of every block K = G Gᵀ, C = Q Gᵀ and the queries' squared norms, one safetensors file a block.

    A file is whole or absent, so an interrupted job goes on at the first block without one. Numbers are
    float64, since rounding of K is divided by λ afterwards: with float32, influence is off by up to 1e-4 of
    the largest score where eigenvalues fall steeply. K is symmetric and half of it is kept, so a block
    takes 4 n² bytes all the same.

    Use `create` (or resume) and `open`.
    """

    def __init__(self, folder: Place, manifest: dict[str, Any], ids: dict[str, list[str]]) -> None:
        self.folder = folder
        self._manifest = manifest
        self._ids = ids

    @classmethod
    def create(
        cls,
        folder: Place,
        train_ids: Sequence[str],
        query_ids: Sequence[str],
        blocks: Sequence[Block],
        identity: dict[str, Any],
        *,
        restart: bool = False,
    ) -> GramStore:
        """Makes an empty store, or takes up the one that an interrupted run of the same job left.

        Args:
            folder: where it goes.
            train_ids: ids of the training rows.
            query_ids: ids of the queries.
            blocks: blocks whose products will be put.
            identity: what gradients are made from: model, adapter, template, rows of both sides …
            restart: throw away what is there.

        Raises:
            IdentityError: the folder holds products of something else.
            StoreError: the place cannot hold the store, or the folder is not ours.
        """
        ids = {"train": list(train_ids), "queries": list(query_ids)}
        manifest = {
            "format": FORMAT,
            "identity": identity,
            "ids": digest_value(ids),
            "blocks": [[block.name, list(block.shape)] for block in blocks],
        }
        if restart and folder.exists():
            remove_ours(folder)
        if (folder / _MANIFEST).is_file():
            existing = cls.open(folder, finished=False)
            require_same(
                _flat(existing._manifest),
                _flat(manifest),
                f"the products in {folder}",
                "this job",
                "Queries cannot be added to products; use --restart to make them again.",
            )
            return existing
        if folder.exists():
            remove_ours(folder)
        n, q = len(train_ids), len(query_ids)
        require_space(folder, len(blocks) * 8 * (n * (n + 1) // 2 + q * n + q))
        folder.mkdir(parents=True, exist_ok=True)
        mark_ours(folder)
        write_json(folder / _IDS, ids)
        write_json(folder / _MANIFEST, manifest)
        return cls(folder, manifest, ids)

    @classmethod
    def open(cls, folder: Place, *, finished: bool = True) -> GramStore:
        """Opens a store that exists.

        Raises:
            StoreError: there is none, it is of another format, or (with `finished`) not complete.
        """
        if not (folder / _MANIFEST).is_file():
            raise StoreError(f"{folder}: no products here. Run `wherefrom index` first.")
        manifest, ids = read_json(folder / _MANIFEST), read_json(folder / _IDS)
        try:
            if manifest["format"] != FORMAT:
                raise StoreError(
                    f"{folder}: format {manifest['format']} of products, this version reads {FORMAT}. "
                    "Index again with --restart."
                )
            if digest_value(ids) != manifest["ids"]:
                raise StoreError(f"{folder}: its ids were changed. Index again with --restart.")
            store = cls(folder, manifest, ids)
            missing = len(store.missing())
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"{folder}: damaged ({error}). Index again with --restart.") from None
        if finished and missing:
            done = len(store.blocks) - missing
            raise StoreError(
                f"{folder}: products of only {done} of {len(store.blocks)} blocks are done. Run the same "
                "`wherefrom index` again; it goes on where it stopped."
            )
        return store

    @property
    def train_ids(self) -> tuple[str, ...]:
        """Ids of the training rows."""
        return tuple(self._ids["train"])

    @property
    def query_ids(self) -> tuple[str, ...]:
        """Ids of the queries."""
        return tuple(self._ids["queries"])

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Blocks whose products are kept."""
        return tuple(Block(name, tuple(shape)) for name, shape in self._manifest["blocks"])

    @property
    def identity(self) -> dict[str, Any]:
        """What the gradients were made from."""
        return dict(self._manifest["identity"])

    def missing(self) -> Sequence[Block]:
        """Blocks whose products have not been put yet."""
        there = names_in(self.folder)
        return [b for i, b in enumerate(self.blocks) if _file(i) not in there]

    def put(self, block: str, gram: GramBlock) -> None:
        """Writes one block's products.

        Raises:
            NonFiniteError: a product is NaN or Inf; the row is named.
            ValueError: they are of other numbers of rows or entries, or of another F than the rows' own.
        """
        number, named = self._numbered(block)
        n, q = len(self._ids["train"]), len(self._ids["queries"])
        given = gram.gram.shape, gram.cross.shape, gram.size
        if given != ((n, n), (q, n), named.size) or gram.basis is not None:
            raise ValueError(f"{block}: products of {given}, not of {((n, n), (q, n), named.size)}")
        arrays = {
            "gram": np.asarray(gram.gram, np.float64)[np.tri(n, dtype=bool)],
            "cross": np.ascontiguousarray(gram.cross, np.float64),
            "query_norms": np.ascontiguousarray(gram.query_norms, np.float64),
        }
        self._require_finite(block, gram)
        about = {"block": block, "digest": digest_arrays(sorted(arrays.items()))}
        write_bytes(self.folder / _file(number), save(arrays, {"wherefrom": json.dumps(about)}))

    def gram(self, block: str) -> GramBlock:
        """One block's products.

        Raises:
            StoreError: the file is missing or damaged.
        """
        number, named = self._numbered(block)
        path = self.folder / _file(number)
        n = len(self._ids["train"])
        try:
            data = path.read_bytes()
            about = json.loads(_metadata(data)["wherefrom"])
            arrays = load(data)
            if about["block"] != block:
                raise ValueError(f"holds {about['block']}")
            if digest_arrays(sorted(arrays.items())) != about["digest"]:
                raise ValueError("its digest does not hold")
            gram = np.zeros((n, n))
            lower = np.tri(n, dtype=bool)
            gram[lower] = arrays["gram"]
            # in the same order, so that the upper half is the lower one's mirror
            gram.T[lower] = arrays["gram"]
            return GramBlock(gram, arrays["cross"], arrays["query_norms"], named.size)
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path}: damaged ({error}). Index again with --restart.") from None

    def _numbered(self, block: str) -> tuple[int, Block]:
        for number, named in enumerate(self.blocks):
            if named.name == block:
                return number, named
        raise StoreError(
            f"{self.folder}: holds no products of {block}. Index again with --restart."
        )

    def _require_finite(self, block: str, gram: GramBlock) -> None:
        for values, name in ((np.diagonal(gram.gram), "train"), (gram.query_norms, "queries")):
            bad = np.flatnonzero(~np.isfinite(values))
            if len(bad):
                raise NonFiniteError(
                    f"the gradient of {block} of row {self._ids[name][bad[0]]!r} is NaN or Inf, or too "
                    "large. Check that row and the model's weights."
                )


def reduce_to_grams(
    train: Source,
    query: Source,
    folder: Place,
    memory: float = 4e9,
    *,
    restart: bool = False,
    quiet: bool = False,
) -> GramStore:
    """Makes the products of every block, from gradients of the loss; goes on where it was interrupted.

    A block's rows are read once where they fit the memory together, else as many times as it takes to have
    each part of them beside all others.

    Args:
        train: training rows' gradients.
        query: queries' gradients.
        folder: where products go.
        memory: bytes that a block may take.
        restart: throw away what is there.
        quiet: show no bar.

    Raises:
        IdentityError: gradients are of two models, or the folder holds products of something else.
        StoreError: the place cannot hold the products, or K of so many rows does not fit the memory.
        NonFiniteError: a gradient is NaN or Inf.
    """
    n, q = len(train.ids), len(query.ids)
    # K, its packed half, and the file before it is written
    fixed = 8 * (2.5 * n * n + 2 * q * n)
    tiles = {
        block.name: int((memory - fixed - 12 * q * block.size) // (12 * max(1, block.size)))
        for block in train.blocks
    }
    if n and min(tiles.values(), default=1) < 1:
        raise StoreError(
            f"products of {n:,} rows take {fixed / 1e9:.1f} GB while a block is made, and its gradients "
            f"come on top; the budget is {memory / 1e9:.1f} GB. Use --policy projected, or more memory."
        )
    identity = _identity(train.identity, query.identity)
    store = GramStore.create(folder, train.ids, query.ids, train.blocks, identity, restart=restart)
    missing = store.missing()
    total = len(store.blocks)
    with track(None if quiet else "products", total, total - len(missing)) as advance:
        for block in missing:
            store.put(block.name, _products(train, query, block, tiles[block.name]))
            advance(1)
    return store


def _identity(train: dict[str, Any], query: dict[str, Any]) -> dict[str, Any]:
    """What products are made from: what both sides share, and the rows of each."""
    shared = (train.keys() & query.keys()) - {"rows"}
    require_same(
        {key: train[key] for key in shared},
        {key: query[key] for key in shared},
        "the training signals",
        "the query signals",
        "Index both again with the same model, adapter and recipe.",
    )
    return {**train, "query rows": query.get("rows")}


def _products(train: Source, query: Source, block: Block, tile: int) -> GramBlock:
    name = gradient_name(block.name)
    n = len(train.ids)
    q = np.asarray(query.read(name), np.float64).reshape(len(query.ids), block.size)
    norms = np.einsum("qp,qp->q", q, q)
    if n <= tile:
        g = np.asarray(train.read(name), np.float64).reshape(n, block.size)
        return GramBlock(g @ g.T, q @ g.T, norms, block.size)
    gram, cross = np.zeros((n, n)), np.zeros((len(q), n))
    for first in range(0, n, tile):
        held = _held(train, name, first, min(first + tile, n), block.size)
        at = slice(first, first + len(held))
        cross[:, at] = q @ held.T
        for rows, values in train.stream(name):
            # K is symmetric: a pair of tiles is met once
            below = rows >= first
            some = np.asarray(values[below], np.float64).reshape(-1, block.size)
            found = some @ held.T
            gram[rows[below], at] = found
            gram[at, rows[below]] = found.T
    return GramBlock(gram, cross, norms, block.size)


def _held(train: Source, name: str, first: int, stop: int, size: int) -> np.ndarray:
    """The gradients of some neighbouring rows, float64."""
    found = np.zeros((stop - first, size))
    for rows, values in train.stream(name):
        inside = (rows >= first) & (rows < stop)
        found[rows[inside] - first] = values[inside].reshape(-1, size)
    return found


def _metadata(data: bytes) -> dict[str, str]:
    """The metadata of a safetensors file, which `load` does not give."""
    length = int.from_bytes(data[:8], "little")
    found: dict[str, str] = json.loads(data[8 : 8 + length])["__metadata__"]
    return found


def _file(number: int) -> str:
    return f"block-{number:05d}.safetensors"


def _flat(manifest: dict[str, Any]) -> dict[str, Any]:
    """Identity entries, and digests in place of what is too long to print."""
    return {
        **manifest["identity"],
        "ids of rows and queries": manifest["ids"],
        "blocks": digest_value(manifest["blocks"]),
        "format of products": manifest["format"],
    }
