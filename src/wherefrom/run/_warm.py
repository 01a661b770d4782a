"""A run that answers many questions: what follows from its training rows alone stays in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import psutil

from wherefrom.answers import Answer, Null
from wherefrom.curvature import FactorSums
from wherefrom.data import Example, Recipe, Renderer, TokenRow
from wherefrom.diagnose import TraceCheck, Verdict
from wherefrom.errors import SettingError, WherefromError
from wherefrom.methods import Method, score_all
from wherefrom.models import Hear, generate_streaming
from wherefrom.run._answer_check import check_answers
from wherefrom.run._asked import asking, evidence_for, methods_for
from wherefrom.run._calibration import calibrated
from wherefrom.run._config import IndexSettings, RunConfig
from wherefrom.run._null import score_with_nulls
from wherefrom.run._run import Run
from wherefrom.run._states import PlannedPass, States, merge
from wherefrom.run._trace import require_text
from wherefrom.signals import KeptSignals, Room, Shelf, Side, Source

UNTOLD = "the verdict was not told yet"
_SHARE = 0.4
"""Of the memory that is free when the run is opened, what may be kept."""


class WarmRun(Run):
    """A run whose training signals, their decompositions and their nulls stay in memory between questions.

    The first question of a method costs what `trace` costs; later ones run the model on the query alone.
    Not for several threads: there is one model, whose weights a verdict changes for a while.

    Args:
        path: the run folder.
        config: its config.
    """

    def __init__(self, path: Path, config: RunConfig) -> None:
        super().__init__(path, config)
        self.room = Room(_SHARE * psutil.virtual_memory().available)
        self._signals: dict[tuple[str, PlannedPass], tuple[Source, FactorSums | None]] = {}
        self._shelves: dict[tuple[str, str], Shelf] = {}
        self._rendered: dict[str, list[TokenRow]] = {}
        self._nulls: dict[str, Null] = {}

    @classmethod
    def open(cls, path: str | Path) -> WarmRun:
        """Opens a run folder.

        Raises:
            SettingError: there is no run there.
        """
        run = super().open(path)
        assert isinstance(run, cls)
        return run

    @property
    def passing(self) -> IndexSettings:
        """Settings of the pass, in this process alone: a server's threads do not survive a fork."""
        return super().passing.model_copy(update={"workers": 1})

    def stored(self, recipe: Recipe, one: PlannedPass) -> tuple[Source, FactorSums | None]:
        """The signals that a pass left; those of the training rows are opened once and kept.

        Raises:
            StoreError: they were not captured, or not to the end.
        """
        if one.side is not Side.TRAIN:
            return super().stored(recipe, one)
        key = (recipe.name, one)
        if key not in self._signals:
            source, factors = super().stored(recipe, one)
            shelf = self._shelves.setdefault((recipe.name, one.state.name), Shelf(self.room))
            self._signals[key] = (KeptSignals(source, shelf), factors)
        return self._signals[key]

    def rendered(self, recipe: Recipe) -> list[TokenRow]:
        """The training rows as the model reads them, rendered once."""
        if recipe.name not in self._rendered:
            self._rendered[recipe.name] = super().rendered(recipe)
        return self._rendered[recipe.name]

    def available(self) -> dict[str, str | None]:
        """The methods that the run was indexed for; of those that cannot answer a new question, why."""
        found: dict[str, str | None] = {}
        for m in self.methods():
            try:
                (method,) = methods_for(self, [m.spec])
                self._require_signals(method)
            except WherefromError as error:
                found[m.spec] = str(error)
            else:
                found[m.spec] = None
        return found

    def speak(self, prompt: str, max_new_tokens: int, hear: Hear) -> str:
        """The model's own answer to a prompt (greedy), told while it comes about.

        Args:
            prompt: what the model is asked.
            max_new_tokens: longest answer.
            hear: is given every piece of text; False stops the model.

        Raises:
            SettingError: the prompt is empty, or the model answers with nothing.
        """
        require_text("prompt", prompt)
        renderer = Renderer(self.model.tokenizer, self.config.recipes()[0])
        ids = renderer.prompt_ids(Example.of("query", prompt, "answer"))
        text = generate_streaming(self.model, ids, max_new_tokens, hear).strip()
        if not text:
            raise SettingError("the model answers with nothing; give a response.")
        return text

    def ask(self, query: Example, method: str, *, generated: bool = False) -> Answer:
        """Scores a query by a method; the verdict is left to `judge`.

        Args:
            query: prompt and response.
            method: as typed.
            generated: whether the model gave the response itself.

        Raises:
            SettingError: prompt or response is empty, or the run was not indexed for the method.
            IdentityError: the index is of another model, adapter or template.
        """
        for name, text in (("prompt", query.prompt), ("response", query.response)):
            require_text(name, text)
        chosen = methods_for(self, [method])
        evidence = evidence_for(self, [query], chosen)
        (spec,) = (m.spec for m in chosen)
        if spec in self._nulls:
            scores, nulls = score_all(chosen, evidence, quiet=True).scores, self._nulls
        else:
            scores, nulls = score_with_nulls(chosen, evidence, quiet=True)
            self._nulls |= nulls
        scores = calibrated(self, scores)
        rows = tuple(scores[0].top(1).ids[0].tolist())
        return Answer(
            query=query,
            generated=generated,
            scores=tuple(scores),
            train=tuple(self.train),
            trust=TraceCheck(query.id, spec, rows, Verdict("cannot tell", None, (UNTOLD,))),
            seconds=0.0,
            nulls={spec: nulls[spec]} if spec in nulls else {},
        )

    def judge(self, answer: Answer) -> TraceCheck:
        """The verdict on what `ask` found, from what the index holds."""
        read = asking(self, {Side.QUERY: [answer.query]})
        return check_answers(self, [answer.query], answer.scores[0], read)[0]

    def warm_up(self, method: str) -> None:
        """Asks the first training row, so that the first question finds everything in memory."""
        answer = self.ask(self.train[0], method)
        self.judge(answer)

    def _require_signals(self, method: Method) -> None:
        recipe = self.config.recipes()[0]
        for one in _train_passes(self, recipe, [method]):
            self.stored(recipe, one)


def _train_passes(run: Run, recipe: Recipe, methods: Sequence[Method]) -> list[PlannedPass]:
    needs = {need for m in methods for need in m.needs if need.side is Side.TRAIN}
    return merge(needs, run.states(recipe) if needs else States())
