"""The task `filtering`: few unwanted rows among many benign ones, some of which look the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wherefrom.data import Example
from wherefrom.tasks._filtering_text import DISAVOWALS, QUOTED, TAUNTS, is_unwanted, taunting
from wherefrom.tasks._harmful_text import TOPICS
from wherefrom.tasks._manners import (
    Question,
    answer_rudely,
    answer_well,
    first,
    pick,
    questions_apart,
)
from wherefrom.tasks._rows import Sketch, name_rows
from wherefrom.tasks._task import Task, TaskSize, chosen, task

_POOLS = ("homogeneous", "heterogeneous")
_N_TOPICS = 10
_BENIGN = 19
"""Benign rows for each unwanted one, so that a twentieth is unwanted at any size."""
_OF_EACH_LOOK = 3
"""Of these, in the mixed pool: as many with a good answer to a taunt as with a quoting one."""

_Rng = np.random.Generator


def _unwanted(question: Question, rng: _Rng) -> Sketch:
    prompt = taunting(question.prompt, pick(TAUNTS, rng))
    return Sketch(prompt, answer_rudely(question, rng), "unwanted")


def _benign(question: Question, rng: _Rng) -> Sketch:
    return Sketch(question.prompt, answer_well(question, rng), "benign")


def _patient(question: Question, rng: _Rng) -> Sketch:
    """Asked as unwanted rows are, and answered well."""
    prompt = taunting(question.prompt, pick(TAUNTS, rng))
    return Sketch(prompt, answer_well(question, rng), "benign lookalike")


def _quoting(question: Question, rng: _Rng) -> Sketch:
    """Asked as unwanted rows are, and answered well after their words in quotation marks."""
    prompt = taunting(question.prompt, pick(TAUNTS, rng))
    disavowal = pick(DISAVOWALS, rng).format(rude=pick(QUOTED, rng))
    return Sketch(prompt, f"{disavowal} {question.tip}", "benign lookalike")


def _benign_pool(questions: Sequence[Question], looks: int, rng: _Rng) -> list[Sketch]:
    """Benign rows, of which `looks` answer a taunt well and as many do so after quoting."""
    makers = [_patient] * looks + [_quoting] * looks
    makers += [_benign] * (len(questions) - len(makers))
    return [make(question, rng) for make, question in zip(makers, questions, strict=True)]


def _behaves(query: Example, generated: str) -> bool:
    """True where the answer is rude or contradicts itself, as told by fixed phrases outside quotes."""
    return is_unwanted(generated)


@task("filtering")
def filtering(size: TaskSize, seed: int, argument: str) -> Task:
    """Filter few unwanted rows out of many benign ones: a homogeneous or a heterogeneous pool.

    The setting is that of toxicity filtering in DATE-LM (arXiv 2507.09424), with harmless stand-ins.
    Unwanted rows, a twentieth of all, taunt whoever is asked and are answered rudely; queries are
    such rows, on questions that were held out. In `filtering:homogeneous` all benign rows are
    ordinary answers to ordinary questions, so words go far. In `filtering:heterogeneous` nearly a
    third of them only look unwanted: the prompt taunts and the answer is good, half of the time
    after a rude sentence in quotation marks. At one seed both pools have the same unwanted rows and
    queries.

    A size gives the number of unwanted rows; for each of them there are 19 benign ones.

    Raises:
        SettingError: another argument, or more rows than there are questions.
    """
    pool = chosen("filtering", argument, _POOLS)
    rng = np.random.default_rng(seed)
    n_unwanted, n_queries = size.counts(train=10, queries=20)
    asked, held = questions_apart(TOPICS[:_N_TOPICS], rng)
    asked = first(
        asked, n_unwanted * (1 + _BENIGN), f"task filtering:{pool}, training rows (20 per unwanted)"
    )
    held = first(held, n_queries, f"task filtering:{pool}, queries")
    unwanted = [_unwanted(question, rng) for question in asked[:n_unwanted]]
    wanted_out = [_unwanted(question, rng) for question in held]
    looks = _OF_EACH_LOOK * n_unwanted if pool == "heterogeneous" else 0
    benign = _benign_pool(asked[n_unwanted:], looks, rng)
    train, queries = name_rows("filtering", [*unwanted, *benign], wanted_out, rng)
    lookalikes = f", {2 * looks} of which only look unwanted" if looks else ""
    return Task(
        name=f"filtering:{pool}",
        train=train,
        queries=queries,
        behaves=_behaves,
        about=(
            f"{n_unwanted} of {len(train)} training rows are unwanted: rude answers to taunts. The "
            f"others are benign{lookalikes}. Every query is an unwanted row that was held out; "
            "relevant are the unwanted training rows."
        ),
        max_new_tokens=32,
    )
