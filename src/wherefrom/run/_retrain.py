"""Retrain: the run's own recipe on a cleaned data set, and what the answers were before and after."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wherefrom.atomic import read_json, write_json
from wherefrom.data import Example, Renderer, read_examples
from wherefrom.diagnose import BASE, FINAL
from wherefrom.errors import SettingError
from wherefrom.models import generate
from wherefrom.run._config import RunConfig
from wherefrom.run._probe import RunProbe
from wherefrom.run._prune import manifest_of
from wherefrom.run._rows import rows_digest

if TYPE_CHECKING:
    from wherefrom.run._run import Run

FILE = "retrained.json"


@dataclass(frozen=True)
class Behaviour:
    """One query before and after. Log-probabilities are means over the response's tokens, in nats.

    Attributes:
        id: of the query.
        side: `query`, or `good` for an answer that is to be kept.
        prompt: text.
        response: the response whose log-probability is looked at.
        base: its log-probability under the model before any fine-tuning.
        before: under the old run's model.
        after: under the new one's.
        answer_before: what the old model answers, greedily.
        answer_after: what the new one does.
        says_before: whether that answer of the old model is the response.
        says_after: whether that of the new one is.
    """

    id: str
    side: str
    prompt: str
    response: str
    base: float
    before: float
    after: float
    answer_before: str
    answer_after: str
    says_before: bool
    says_after: bool


@dataclass(frozen=True)
class Retrained:
    """A run on cleaned rows beside the run that it came from.

    Attributes:
        run: the new run.
        old: folder of the old one.
        rows_before: how many rows the old one was trained on.
        rows_after: how many the new one was.
        behaviour: of each query, then of each good one.
    """

    run: Run
    old: Path
    rows_before: int
    rows_after: int
    behaviour: tuple[Behaviour, ...]

    def summary(self) -> list[dict[str, Any]]:
        """One line for each side: means, and how many answers are the response, before and after."""
        found = []
        for side in dict.fromkeys(one.side for one in self.behaviour):
            lines = [one for one in self.behaviour if one.side == side]
            told: dict[str, Any] = {"side": side, "queries": len(lines)}
            for name in ("base", "before", "after"):
                told[name] = float(np.mean([getattr(one, name) for one in lines]))
            told["says_before"] = sum(one.says_before for one in lines)
            told["says_after"] = sum(one.says_after for one in lines)
            told["other_answers"] = sum(one.answer_before != one.answer_after for one in lines)
            found.append(told)
        return found

    def to_json(self) -> dict[str, Any]:
        """What `retrained.json` holds."""
        return {
            "old": str(self.old),
            "new": str(self.run.path),
            "data": self.run.config.data,
            "rows": {"before": self.rows_before, "after": self.rows_after},
            "summary": self.summary(),
            "queries": [asdict(one) for one in self.behaviour],
            "unit": "mean log-probability of the response's tokens, in nats",
        }


def retrain(
    run: Run,
    data: str | Path,
    queries: str | Path,
    good: str | Path | None = None,
    out: Path | None = None,
    *,
    shape: str | None = None,
    max_new_tokens: int = 64,
) -> Retrained:
    """Fine-tunes as a run was, on other rows, and shows the behaviour before and after.

    Base model, template, mask, settings and seed are the run's. Another number of rows is shuffled into
    other batches, so a part of the change has nothing to do with the rows that are gone: hold it against
    the good answers, and against `wherefrom counterfactual`, which keeps the batches.

    Args:
        run: fine-tuned by wherefrom.
        data: the cleaned rows.
        queries: prompts and responses to look at.
        good: answers that are to be kept.
        out: folder of the new run; `RUN-DATA` beside the old one when None.
        shape: row shape of all these files; that of the run, or of what `prune` wrote, when None.
        max_new_tokens: longest answer a model is let give.

    Raises:
        SettingError: wherefrom did not fine-tune the run, or `out` holds a run of other rows.
        IdentityError: `out` holds a run of other settings.
        DataError: rows cannot be read.
    """
    if run.config.finetune is None:
        raise SettingError(
            f"{run.path}: was not fine-tuned by wherefrom, so the recipe of its training is not known. "
            f"Train on the cleaned rows with `wherefrom finetune --data {data} --model {run.config.model}`."
        )
    shape = shape or _shape(run, Path(data))
    rows = read_examples(data, shape)
    asked = {"query": read_examples(queries, shape)}
    if good is not None:
        asked["good"] = read_examples(good, shape)
    everything = [row for side in asked.values() for row in side]
    base, before = (_log_probabilities(run, everything, stage) for stage in (BASE, FINAL))
    said_before = _answers(run, everything, max_new_tokens)
    precision = run.passing.precision
    # both models at once might not fit
    run.__dict__.pop("model", None)
    gc.collect()
    config = _config(run, data, queries, shape, precision)
    new = type(run).create(out or run.path.with_name(f"{run.path.name}-{Path(data).stem}"), config)
    if rows_digest(new.train) != rows_digest(rows):
        raise SettingError(
            f"{new.path} holds a run of other rows than {data} has now. Choose another --out."
        )
    old = {"run": str(run.path), "training rows": rows_digest(run.train)}
    new.card.set("retrained from", old)
    new.finetune()
    after = _log_probabilities(new, everything, FINAL)
    said_after = _answers(new, everything, max_new_tokens)
    sides = [side for side, held in asked.items() for _ in held]
    found = Retrained(
        new,
        run.path,
        len(run.train),
        len(new.train),
        tuple(
            Behaviour(
                id=row.id,
                side=sides[i],
                prompt=row.prompt,
                response=row.response,
                base=float(base[i]),
                before=float(before[i]),
                after=float(after[i]),
                answer_before=said_before[i],
                answer_after=said_after[i],
                says_before=said_before[i] == row.response.strip(),
                says_after=said_after[i] == row.response.strip(),
            )
            for i, row in enumerate(everything)
        ),
    )
    write_json(new.path / FILE, found.to_json())
    return found


def _shape(run: Run, data: Path) -> str | None:
    """The row shape that a pruned data set was written in: the run's, unless it had to be written anew."""
    manifest = manifest_of(data)
    if manifest.is_file():
        written = read_json(manifest).get("written", {})
        if written.get("path") == data.name:
            # the queries are in a shape of their own, and both are told from their columns
            own = written.get("shape")
            return run.config.shape if own == run.config.shape else None
    return run.config.shape


def _config(
    run: Run, data: str | Path, queries: str | Path, shape: str | None, precision: Any
) -> RunConfig:
    changes: dict[str, Any] = {
        "data": str(data),
        "queries": str(queries),
        "shape": shape,
        "index": run.config.index.model_copy(update={"signals": None, "precision": precision}),
    }
    of_the_old_rows = ("task", "train_per_class", "queries_per_class", "split", "limit", "budget")
    return run.config.model_copy(update=changes | dict.fromkeys(of_the_old_rows))


def _log_probabilities(run: Run, rows: Sequence[Example], stage: str) -> np.ndarray:
    return RunProbe(run, ()).log_probabilities(rows, stage)


def _answers(run: Run, rows: Sequence[Example], max_new_tokens: int) -> list[str]:
    renderer = Renderer(run.model.tokenizer, run.config.recipes()[0])
    prompts = [renderer.prompt_ids(row) for row in rows]
    found = generate(run.model, prompts, max_new_tokens, label=f"answers of {run.path.name}")
    return [text.strip() for text in found]
