"""The task `emotion`: name the feeling of whoever wrote a sentence."""

from __future__ import annotations

import numpy as np

from wherefrom.tasks._answer import agrees
from wherefrom.tasks._emotion_text import DETAILS, OPENINGS, SITUATIONS
from wherefrom.tasks._grid import Grid
from wherefrom.tasks._rows import Sketch, draw, held_out, name_rows
from wherefrom.tasks._task import Task, TaskSize, chosen, task


@task("emotion")
def emotion(size: TaskSize, seed: int, argument: str) -> Task:
    """Name the feeling that a situation implies: 5 feelings, no feeling word in the text.

    Queries describe situations that no training row describes; openings and endings are shared by
    all feelings.

    Raises:
        SettingError: an argument, or more rows than there are sentences.
    """
    chosen("emotion", argument, ())
    rng = np.random.default_rng(seed)
    n_train, n_queries = size.counts(train=30, queries=6)
    train: list[Sketch] = []
    queries: list[Sketch] = []
    for feeling, situations in SITUATIONS.items():

        def tell(opening: str, situation: str, detail: str, feeling: str = feeling) -> Sketch:
            text = f"{opening} {situation}. {detail}"
            return Sketch(f"How does the writer feel? {text}", feeling, feeling)

        for_train, for_queries = held_out(situations, 1 / 5, rng)
        for rows, kept, count in ((train, for_train, n_train), (queries, for_queries, n_queries)):
            part = "training rows" if rows is train else "queries"
            rows += draw(
                Grid(tell, OPENINGS, kept, DETAILS),
                count,
                rng,
                f"task emotion, {part} of class {feeling!r}",
            )
    train_rows, query_rows = name_rows("emotion", train, queries, rng)
    return Task(
        name="emotion",
        train=train_rows,
        queries=query_rows,
        behaves=agrees,
        about=(
            "The model learns to name the feeling that a situation implies. Relevant are the "
            "training rows with the same feeling; no situation occurs on both sides."
        ),
        max_new_tokens=6,
    )
