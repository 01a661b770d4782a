"""Three curvatures, one question: does it matter to an answer which of them is inverted?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import scipy.linalg

from wherefrom.counterfactual._exact_curvature import CURVATURES, ExactCurvature
from wherefrom.data import TokenRow
from wherefrom.errors import SettingError
from wherefrom.metrics import agreement
from wherefrom.scores import Scores

if TYPE_CHECKING:
    import pandas as pd

LARGEST = 3000
"""Trained weights up to which matrices are formed."""
ABSOLUTE, FREE = "absolute hessian", "hessian-free"


@dataclass(frozen=True)
class CurvatureComparison:
    """Influence q(C + λI)⁻¹g with each curvature C in the place of the Hessian.

    Names are `hessian`, `absolute hessian` (|σ| in place of every eigenvalue σ, so that damping cannot
    make it singular), `gauss-newton`, `empirical`, and `hessian-free` for q·g.

    Attributes:
        scores: by name; higher = pushed the model more towards the query's response.
        spearman: name × name, mean over queries.
        overlap: share of the top k rows in common, name × name, mean over queries.
        alignment: cosine of the matrices themselves, ⟨C, C'⟩/(‖C‖‖C'‖) over all blocks, for each pair of
            curvatures.
        damping: λ of each block, by curvature.
        eigenvalues: of all blocks together, ascending, by curvature.
        query_energy: share of a query's squared gradient in directions with σ > λ, mean over queries and
            blocks, by curvature.
        negative: Σ|σ| over the Hessian's eigenvalues below zero as a share of all, 0 to 1.
        negative_count: how many of its eigenvalues are below zero (and not rounding), as a share.
        indefinite: share of blocks in which H + λI has an eigenvalue below zero: there (H + λI)⁻¹ steps
            uphill along it.
    """

    scores: Mapping[str, Scores]
    spearman: pd.DataFrame
    overlap: pd.DataFrame
    alignment: pd.DataFrame
    damping: Mapping[str, tuple[float, ...]]
    eigenvalues: Mapping[str, np.ndarray]
    query_energy: Mapping[str, float]
    negative: float
    negative_count: float
    indefinite: float


def compare_curvatures(
    curvature: ExactCurvature,
    queries: Sequence[TokenRow],
    *,
    rule: Literal["mean", "nonzero"] = "nonzero",
    strength: float = 1.0,
    scope: Literal["block", "whole"] = "block",
    k: int = 10,
) -> CurvatureComparison:
    """Scores all queries and rows with the Hessian, the Gauss–Newton matrix and the empirical Fisher.

    Damping is of one relative rule for all three, λ = c·Σ|σ|/p by `mean` and c·Σ|σ|/min(n, p) by
    `nonzero` with n the training rows; Σ|σ| is the trace where no eigenvalue is below zero.

    Args:
        curvature: of the training loss; matrices are formed and kept.
        queries: rows whose counted tokens are asked about.
        rule: of damping.
        strength: c.
        scope: `block` inverts the part of each weight matrix alone, as the methods do; `whole` all of it.
        k: how many top rows an answer consists of.

    Raises:
        SettingError: there are more than a few thousand trained weights.
    """
    if curvature.size > LARGEST:
        raise SettingError(
            f"{curvature.size:,} trained weights are too many for whole curvature matrices; give a model "
            f"with up to {LARGEST:,}."
        )
    train, asked = curvature.gradients, curvature.row_gradients(queries)
    sizes = curvature.model.sizes if scope == "block" else [curvature.size]
    ends = np.cumsum(sizes)
    parts = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    values: dict[str, np.ndarray] = {FREE: asked @ train.T}
    damping: dict[str, tuple[float, ...]] = {}
    spectra: dict[str, np.ndarray] = {}
    energy: dict[str, float] = {}
    indefinite = 0.0
    for kind in CURVATURES:
        matrix = curvature.dense(kind)
        total, absolute = (np.zeros_like(values[FREE]) for _ in range(2))
        lams, sigmas, shares, below = [], [], [], []
        for part in parts:
            sigma, vectors = scipy.linalg.eigh(matrix[part, part], driver="evd")
            entries = len(sigma) if rule == "mean" else min(len(train), len(sigma))
            lam = strength * float(np.abs(sigma).sum()) / entries
            if lam == 0:
                continue  # LoRA's A while B is zero
            q, g = asked[:, part] @ vectors, train[:, part] @ vectors
            total += (q / (sigma + lam)) @ g.T
            absolute += (q / (np.abs(sigma) + lam)) @ g.T
            lams.append(lam)
            sigmas.append(sigma)
            shares.append((q**2 @ (sigma > lam)) / np.maximum((q**2).sum(1), 1e-300))
            below.append(bool(sigma[0] + lam < 0))
        values[kind] = total
        if kind == "hessian":
            values[ABSOLUTE] = absolute
            indefinite = float(np.mean(below))
        damping[kind] = tuple(lams)
        spectra[kind] = np.sort(np.concatenate(sigmas))
        energy[kind] = float(np.mean(shares))
    names = ("hessian", ABSOLUTE, "gauss-newton", "empirical", FREE)
    ids = tuple(row.id for row in queries), tuple(row.id for row in curvature.rows)
    scores = {name: Scores(values[name], *ids, name) for name in names}
    hessian = spectra["hessian"]
    size = np.abs(hessian)
    # what is smaller is rounding
    real = hessian < -1e-9 * size.max()
    return CurvatureComparison(
        scores=scores,
        spearman=agreement(list(scores.values())),
        overlap=agreement(list(scores.values()), "top", k),
        alignment=_alignment(curvature, parts),
        damping=damping,
        eigenvalues=spectra,
        query_energy=energy,
        negative=float(size[hessian < 0].sum() / size.sum()),
        negative_count=float(real.mean()),
        indefinite=indefinite,
    )


def _alignment(curvature: ExactCurvature, parts: Sequence[slice]) -> pd.DataFrame:
    import pandas as pd

    flat = [
        np.concatenate([curvature.dense(kind)[part, part].ravel() for part in parts])
        for kind in CURVATURES
    ]
    unit = [one / np.linalg.norm(one) for one in flat]
    return pd.DataFrame(
        [[float(a @ b) for b in unit] for a in unit], index=CURVATURES, columns=CURVATURES
    )
