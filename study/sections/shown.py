"""Methods that tables show where they are no place for all of them."""

from __future__ import annotations

SHOWN = (
    *(
        "influence_along",
        "influence(curvature=true)",
        "ekfac(checkpoints=rate)",
        "ekfac",
        "influence",
    ),
    *(
        "datainf",
        "paper_lissa",
        "gradient_dot",
        "gradient_cosine",
        "for_value",
        "rept(halves=unit)",
    ),
    *("repsim", "repsim(position=mean_response)", "repsim(position=mean_all)", "knn_shapley"),
    *("bm25", "tfidf", "random"),
)
"""Methods of tables that are no place for all of them."""


SCALED = (
    *("influence_along", "influence(curvature=true)", "influence"),
    *("gradient_dot", "datainf", "for_value"),
    *("repsim", "repsim(position=mean_response)", "bm25", "random"),
)


CHANCE = "random"
