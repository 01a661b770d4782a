"""A run as checks see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from wherefrom.data import Example, Recipe, Renderer
from wherefrom.diagnose import Subject
from wherefrom.run._gather import Read
from wherefrom.run._probe import RunProbe
from wherefrom.run._stages import scaling_of, stages_of, states_of
from wherefrom.run._states import PlannedPass, State
from wherefrom.scores import Scores

if TYPE_CHECKING:
    from wherefrom.run._run import Run


def subject_of(
    run: Run,
    recipe: Recipe,
    queries: Sequence[Example],
    method: str,
    k: int,
    read: Read,
    passes: Callable[[State], Sequence[PlannedPass]],
    known: Mapping[str, Scores] | None = None,
) -> Subject:
    """The subject of checks.

    Args:
        run: whose.
        recipe: of the pass.
        queries: whose responses are explained: those of the run, or others.
        method: spec of the method whose answers are checked.
        k: how many top rows an answer consists of.
        read: gives the signals of one pass.
        passes: whose signals a stage has; a stage of none has its weights alone.
        known: scores at the final model that are known already, by method.
    """
    renderer = Renderer(run.model.tokenizer, recipe)
    return Subject(
        run.train,
        queries,
        run.rendered(recipe),
        renderer.render_all(queries),
        recipe,
        method,
        k,
        stages_of(run, recipe, read, passes),
        RunProbe(run, states_of(run, recipe)),
        scaling=scaling_of(run.model.model),
        pad_id=run.model.pad_id,
        known=known or {},
    )
