"""RunProbe: what checks ask a run's model beyond its stored signals."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from wherefrom.data import Example, Renderer, TokenRow, plan_batches
from wherefrom.diagnose import BASE, FINAL, NotMeasured
from wherefrom.errors import DataError
from wherefrom.identity import digest_value
from wherefrom.models import LoadedModel, counted_losses, input_device, pad_rows
from wherefrom.run._behaviour import AFTER, BEFORE, behaving_share, behaviour
from wherefrom.run._gather import in_state
from wherefrom.run._index import batch_tokens, bytes_per_row, index_rows
from wherefrom.run._references import base_model
from wherefrom.run._states import State
from wherefrom.signals import Kind, Need, gradient_name

if TYPE_CHECKING:
    from wherefrom.run._run import Run

_DISTRIBUTION_BYTES = 500e6
"""Most bytes of next-token distributions that are held at once."""
_GRADIENT_BYTES = 2e9


class RunProbe:
    """Asks the model of a run at its stages; every answer is kept.

    Args:
        run: fine-tuned.
        stages: states of its model by name. Without one called `base`, the model without its adapter
            (or loaded anew) stands for it.
    """

    def __init__(self, run: Run, stages: Sequence[State]) -> None:
        self.run = run
        self._states = {state.name: state for state in stages}
        self._recipe = run.config.recipes()[0]
        self._log_p: dict[tuple[str, str, str], np.ndarray] = {}
        self._divergence: dict[str, np.ndarray] = {}
        self._behaviour: dict[str, float | None] = {}
        self._gradients: dict[tuple[tuple[int, ...], str], dict[str, np.ndarray]] = {}
        self._base: dict[int, torch.Tensor] = {}

    def log_probabilities(
        self, rows: Sequence[Example], stage: str, template: str | None = None
    ) -> np.ndarray:
        """Mean log-probability of each row's counted tokens at a stage, in nats a token, (rows,).

        Args:
            rows: any prompts and responses.
            stage: name of the stage.
            template: rows rendered with this one in place of the run's; `plain` or `chat`.

        Raises:
            NotMeasured: there is no such stage.
            SettingError: the tokenizer has no such template.
        """
        renderer = self._renderer(template)
        key = (stage, renderer.template, digest_value([row.digest() for row in rows]))
        if key not in self._log_p:
            tokens = renderer.render_all(rows)
            found = np.zeros(len(rows))
            with self._at(stage) as model:
                for chosen, losses, counted, _ in _forward(model, tokens, self._batch_tokens):
                    found[chosen] = _mean_log_p(losses, counted)
            self._log_p[key] = _frozen(found)
        return self._log_p[key]

    def divergence(self, stage: str) -> np.ndarray:
        """KL(stage ‖ base) of the next-token distributions over each query's response, in nats a token.

        Returns:
            float64, (queries,): the mean over the counted positions of each.

        Raises:
            NotMeasured: there is no such stage.
        """
        if stage not in self._divergence:
            queries = self.run.queries
            found = np.zeros(len(queries))
            if stage != BASE:
                tokens = self._renderer().render_all(queries)
                for part in self._parts(tokens):
                    found[part] = self._divergence_of(stage, [tokens[i] for i in part], part)
            self._divergence[stage] = _frozen(found)
        return self._divergence[stage]

    def behaviour(self, stage: str) -> float | None:
        """Share of the queries that show the taught behaviour; None where no task says what that is.

        Raises:
            NotMeasured: there is no such stage, or the task makes other rows now.
        """
        if stage not in self._behaviour:
            try:
                task = self.run.task
            except DataError as error:
                raise NotMeasured(str(error)) from None
            if task is None or not task.queries:
                self._behaviour[stage] = None
            elif stage in (BASE, FINAL):
                share = behaviour(self.run)
                self._behaviour |= {BASE: share.get(BEFORE), FINAL: share.get(AFTER)}
            else:
                with self._at(stage) as model:
                    share_there = behaving_share(self.run, task, model, f"behaviour at {stage}")
                self._behaviour[stage] = share_there
        return self._behaviour[stage]

    def gradients(self, rows: Sequence[int], precision: str) -> Mapping[str, np.ndarray]:
        """Loss gradients of training rows at the final model, by block.

        Args:
            rows: numbers of training rows.
            precision: of the model's weights: `float32` or `bfloat16`.

        Returns:
            float32, rows × entries of the block.

        Raises:
            NotMeasured: they would not fit into memory.
        """
        key = (tuple(rows), precision)
        if key not in self._gradients:
            self._gradients[key] = self._capture(rows, precision)
        return self._gradients[key]

    @property
    def _batch_tokens(self) -> int:
        return batch_tokens(self.run.model, self.run.passing)

    def _renderer(self, template: str | None = None) -> Renderer:
        recipe = self._recipe if template is None else replace(self._recipe, template=template)
        return Renderer(self.run.model.tokenizer, recipe)

    def _at(self, stage: str) -> AbstractContextManager[LoadedModel]:
        state = self._states.get(stage, State(FINAL) if stage == FINAL else None)
        if state is not None:
            return in_state(self.run.model, state)
        if stage == BASE:
            return base_model(self.run)
        raise NotMeasured(f"the weights at {stage} are not known")

    def _parts(self, tokens: Sequence[TokenRow]) -> list[list[int]]:
        """Rows whose distributions are held at once."""
        vocabulary = self.run.model.model.config.get_text_config().vocab_size
        parts: list[list[int]] = [[]]
        held = 0.0
        for index, row in enumerate(tokens):
            size = 4.0 * vocabulary * row.loss_mask.sum()
            if parts[-1] and held + size > _DISTRIBUTION_BYTES:
                parts.append([])
                held = 0.0
            parts[-1].append(index)
            held += size
        return parts

    def _divergence_of(
        self, stage: str, tokens: Sequence[TokenRow], numbers: Sequence[int]
    ) -> np.ndarray:
        if not self._base.keys() >= set(numbers):
            # what was held of other rows makes room: with one part, base is run once for all stages
            self._base = {}
            with self._at(BASE) as model:
                for chosen, _, counted, logits in _forward(model, tokens, self._batch_tokens):
                    for line, index in enumerate(chosen):
                        log_q = logits[line][counted[line]].double().log_softmax(-1)
                        self._base[numbers[index]] = log_q.float().cpu()
        found = np.zeros(len(tokens))
        with self._at(stage) as model:
            for chosen, _, counted, logits in _forward(model, tokens, self._batch_tokens):
                for line, index in enumerate(chosen):
                    log_p = logits[line][counted[line]].double().log_softmax(-1).cpu()
                    apart = log_p - self._base[numbers[index]]
                    # rounding may take the divergence of two like models below 0
                    found[index] = max(0.0, float((log_p.exp() * apart).sum(-1).mean()))
        return found

    def _capture(self, rows: Sequence[int], precision: str) -> dict[str, np.ndarray]:
        index = self.run.passing
        settings = index.model_validate(index.model_dump() | {"precision": precision})
        need = frozenset({Need(Kind.GRADIENT)})
        chosen = [self.run.train[number] for number in rows]
        renderer = self._renderer()
        tokens = renderer.render_all(chosen)
        size = len(rows) * bytes_per_row(self.run.model, tokens, need, settings)
        if size > _GRADIENT_BYTES:
            raise NotMeasured(
                f"gradients of {len(rows)} rows take {size / 1e9:.1f} GB of memory, more than "
                f"{_GRADIENT_BYTES / 1e9:.0f} GB"
            )
        loaded = self.run.model
        if precision != index.precision:
            config = self.run.config.model_copy(update={"index": settings})
            loaded = type(self.run)(self.run.path, config).model
        source = index_rows(loaded, renderer, chosen, need, settings, quiet=True).source
        found = {
            block.name: source.read(gradient_name(block.name)).reshape(len(rows), -1)
            for block in source.blocks
        }
        del loaded
        gc.collect()
        return found


def _forward(
    loaded: LoadedModel, tokens: Sequence[TokenRow], batch_tokens: int
) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Batches of rows of like length: row numbers, losses, which count, logits."""
    if not tokens:
        return
    plan = plan_batches(tokens, batch_tokens)
    device = input_device(loaded.model)
    for batch in (batch for chunk in plan.chunks for batch in chunk):
        chosen = [int(plan.order[position]) for position in batch]
        padded = pad_rows([tokens[i] for i in chosen], loaded.pad_id, device)
        with torch.no_grad():
            seen = counted_losses(loaded.model, **padded)
        yield chosen, seen.losses, seen.counted, seen.logits


def _mean_log_p(losses: torch.Tensor, counted: torch.Tensor) -> np.ndarray:
    return np.asarray((-losses.double().sum(1) / counted.sum(1)).cpu().numpy())


def _frozen(values: np.ndarray) -> np.ndarray:
    values.setflags(write=False)
    return values
