"""A datamodel: each row's effect, regressed from retrainings."""

from __future__ import annotations

import numpy as np

from wherefrom.errors import SettingError
from wherefrom.metrics._retrainings import Retrainings
from wherefrom.scores import Scores

ALPHAS = tuple(float(alpha) for alpha in np.logspace(-3, 3, 25))


def ridge_datamodel(retrainings: Retrainings) -> Scores:
    """The linear model of which rows were kept that best explains the retrainings.

    For each query, a ridge regression from the kept rows to the outcome averaged over seeds, its
    penalty chosen by leave-one-out error from a grid of 10⁻³ to 10³ times the mean eigenvalue of
    the centred masks. Outcomes are scaled to unit variance for the fit, and back; masks are centred
    and not scaled, so a row that nearly every subset keeps is not blown up. Judge it on other
    retrainings than it was fitted on (`Retrainings.split`): there it shows what a sum of scores can
    reach with that many retrainings. Source: Ilyas et al., arXiv 2202.00622, with a ridge penalty for
    their LASSO.

    Args:
        retrainings: what became of models trained on subsets of the rows.

    Returns:
        Scores of method `datamodel` in the order of the retrainings; a row that every subset keeps,
        or none, gets 0. Where all subsets are of one size, only differences between rows are known,
        and the scores of a query add up to 0. `settings` hold the penalty chosen for each query.

    Raises:
        SettingError: fewer than three subsets, or all keep the same rows.
    """
    from sklearn.linear_model import RidgeCV

    ordered = retrainings.ordered()
    kept = ordered.kept.astype(np.float64)
    centred = kept - kept.mean(axis=0)
    if len(kept) < 3 or not centred.any():
        raise SettingError(
            f"{len(kept)} subsets that keep {len(np.unique(kept, axis=0))} different sets of rows "
            "cannot tell rows apart; retrain on at least three different subsets."
        )
    outcome = ordered.outcomes.mean(axis=0)
    scale = outcome.std(axis=0)
    scale[scale == 0] = 1.0
    eigenvalue = float((centred**2).sum()) / min(len(kept) - 1, kept.shape[1])
    model = RidgeCV(alphas=np.array(ALPHAS) * eigenvalue, alpha_per_target=True)
    model.fit(kept, (outcome - outcome.mean(axis=0)) / scale)
    effects = np.reshape(model.coef_, (-1, kept.shape[1])) * scale[:, None]
    effects[:, ~centred.any(axis=0)] = 0.0
    alphas = np.broadcast_to(np.asarray(model.alpha_) / eigenvalue, scale.shape)

    query = {id: index for index, id in enumerate(ordered.query_ids)}
    row = {id: index for index, id in enumerate(ordered.train_ids)}
    queries = [query[id] for id in retrainings.query_ids]
    return Scores(
        values=effects[np.ix_(queries, [row[id] for id in retrainings.train_ids])],
        query_ids=retrainings.query_ids,
        train_ids=retrainings.train_ids,
        method="datamodel",
        settings={
            "subsets": len(kept),
            "seeds": len(ordered.outcomes),
            "alphas": {ordered.query_ids[i]: float(alphas[i]) for i in queries},
        },
        unit="change of the outcome when the row is kept",
    )
