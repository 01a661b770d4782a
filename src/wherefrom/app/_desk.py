"""Desk: one run, one model, one question at a time; what was asked stays on it for a while."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import Any

import numpy as np

from wherefrom.answers import Answer, Line, size_of_removal
from wherefrom.app._facets import Filter, facets_of
from wherefrom.app._marks import Mark, Marks
from wherefrom.app._shown import (
    PARTS,
    excerpt,
    piece,
    shown_lines,
    shown_marks,
    shown_tokens,
    shown_verdict,
)
from wherefrom.data import Example
from wherefrom.diagnose import TraceCheck
from wherefrom.errors import SettingError
from wherefrom.methods import cannot_take_apart, parse_method
from wherefrom.models import Hear
from wherefrom.run import WarmRun
from wherefrom.safetext import one_line, printable
from wherefrom.scores import SIGN

SIDES = ("proponents", "opponents")
_HELD = 32
"""Questions that are kept; older ones are asked again."""


@dataclass
class Question:
    """A question with its answer.

    Attributes:
        query: prompt and response.
        generated: whether the model gave the response itself.
        answers: by method.
        verdicts: by method.
        lines: every row ranked, by method and side, once a filter has asked for them.
    """

    query: Example
    generated: bool
    answers: dict[str, Answer] = field(default_factory=dict)
    verdicts: dict[str, TraceCheck] = field(default_factory=dict)
    lines: dict[tuple[str, str], list[Line]] = field(default_factory=dict)


class Desk:
    """What the page asks of a run. `speak`, `rows`, `verdict` and `tokens` use the model.

    Args:
        run: indexed.

    Raises:
        SettingError: no method of the run can answer a new question.
    """

    def __init__(self, run: WarmRun) -> None:
        self.run = run
        self.marks = Marks(run.path)
        self.facets = facets_of(run.train)
        self.methods = run.available()
        can = [spec for spec, why in self.methods.items() if why is None]
        if not can:
            reasons = "; ".join(str(why) for why in self.methods.values())
            raise SettingError(f"{run.path}: no method can answer new questions here: {reasons}")
        self.leading = run.leading if run.leading in can else can[0]
        self._questions: OrderedDict[str, Question] = OrderedDict()
        self._lock = Lock()

    def about(self) -> dict[str, Any]:
        """What the page knows before anything is asked."""
        run = self.run
        return {
            "name": one_line(run.path.resolve().name),
            "model": one_line(Path(run.config.model).name if _is_path(run) else run.config.model),
            "task": run.config.task,
            "recipe": run.config.recipes()[0].name,
            "rows": len(run.train),
            "methods": [
                {"method": spec, "why_not": None if why is None else printable(why, 400)}
                for spec, why in self.methods.items()
            ],
            "leading": self.leading,
            "facets": [facet.to_json() for facet in self.facets],
            "examples": [excerpt(row.prompt)["text"] for row in run.queries[:3]],
            "marks": shown_marks(run.train, self.marks.reread()),
            "sign": SIGN,
        }

    def speak(self, prompt: str, max_new_tokens: int, hear: Hear) -> str:
        """The model's own answer, told while it comes about."""
        return self.run.speak(prompt, max_new_tokens, hear)

    def put(self, prompt: str, response: str, *, generated: bool) -> str:
        """Puts a question with its answer on the desk; gives the key it is known by."""
        key = secrets.token_urlsafe(8)
        with self._lock:
            self._questions[key] = Question(
                Example.of("question", prompt, response), generated=generated
            )
            while len(self._questions) > _HELD:
                self._questions.popitem(last=False)
        return key

    def rows(
        self, key: str, method: str, chosen: Filter, start: int, count: int, sides: tuple[str, ...]
    ) -> dict[str, Any]:
        """Rows at both ends of a method's ranking, as far as a filter lets them through.

        Raises:
            SettingError: the question is not held any more, or the method cannot be asked.
        """
        begun = perf_counter()
        question = self._question(key)
        answer = self._answer(question, method)
        scores = answer.of()
        marks = self.marks.held()
        allowed = chosen.rows(self.run.train, self.facets, marks)
        found: dict[str, Any] = {}
        for side in sides:
            lines = self._lines(question, answer, side, None if chosen else start + count)
            here = [line for line in lines if allowed[line.number - 1]] if chosen else lines
            found[side] = shown_lines(here[start : start + count], marks, answer)
        return {
            "method": scores.method,
            "unit": printable(scores.unit, 300),
            "size": size_of_removal(scores),
            "largest": float(np.abs(scores.values).max(initial=0.0)),
            "matching": int(allowed.sum()),
            "rows": len(self.run.train),
            "start": start,
            "seconds": perf_counter() - begun,
            **found,
        }

    def verdict(self, key: str, method: str) -> dict[str, Any]:
        """The verdict on what a method found.

        Raises:
            SettingError: the question is not held any more, or the method cannot be asked.
        """
        question = self._question(key)
        answer = self._answer(question, method)
        if method not in question.verdicts:
            question.verdicts[method] = self.run.judge(answer)
        return shown_verdict(question.verdicts[method])

    def tokens(self, key: str, method: str, number: int) -> dict[str, Any]:
        """Which tokens carry a row's score; why none do, where the method's scores are no sums over tokens.

        Raises:
            SettingError: the question is not held any more, or there is no such row.
        """
        answer = self._answer(self._question(key), method)
        row = self.row(number)
        why = cannot_take_apart(parse_method(method))
        if why is not None:
            return {"sides": [], "notes": [f"{method} says nothing of single tokens: {why}."]}
        (evidence,) = self.run.tokens(answer, [row.id], answer.of().method)
        return shown_tokens(evidence)

    def row(self, number: int) -> Example:
        """A training row by its place, from 1.

        Raises:
            SettingError: there is no such row.
        """
        if not 1 <= number <= len(self.run.train):
            raise SettingError(f"there is no row {number}; there are {len(self.run.train)}.")
        return self.run.train[number - 1]

    def piece(self, number: int, part: str, start: int) -> dict[str, Any]:
        """A piece of a row's text.

        Raises:
            SettingError: there is no such row or part.
        """
        if part not in PARTS:
            raise SettingError(f"a row has a {' and a '.join(PARTS)}, no {part!r}.")
        return piece(self.row(number), part, start)

    def mark(self, number: int, word: str | None, key: str | None, method: str) -> dict[str, Any]:
        """Marks a row, or takes its mark away (None).

        Args:
            number: the row's place, from 1.
            word: guilty or innocent.
            key: of the question that it stands behind.
            method: that ranked it.

        Raises:
            SettingError: there is no such row or mark.
        """
        row = self.row(number)
        found = None
        if word is not None:
            asked: dict[str, Any] = {}
            question = self._questions.get(key or "")
            if question is not None and method in question.answers:
                query = question.query
                scores = question.answers[method].of()
                asked = {"prompt": query.prompt, "response": query.response, "method": method}
                asked["score"] = float(scores.values[0, number - 1])
            found = Mark.now(word, **asked)
        self.marks.set(row.id, found)
        return {"marks": shown_marks(self.run.train, self.marks.held())}

    def _question(self, key: str) -> Question:
        with self._lock:
            if key not in self._questions:
                raise SettingError("this question is not held any more; ask it again.")
            self._questions.move_to_end(key)
            return self._questions[key]

    def _answer(self, question: Question, method: str) -> Answer:
        if method not in self.methods:
            raise SettingError(f"the run was not indexed for {method!r}.")
        why = self.methods[method]
        if why is not None:
            raise SettingError(why)
        if method not in question.answers:
            question.answers[method] = self.run.ask(
                question.query, method, generated=question.generated
            )
        return question.answers[method]

    def _lines(self, question: Question, answer: Answer, side: str, k: int | None) -> list[Line]:
        opponents = side == "opponents"
        if k is not None:
            return answer.lines(k, opponents=opponents)
        key = (answer.of().method, side)
        if key not in question.lines:
            question.lines[key] = answer.lines(len(answer.train), opponents=opponents)
        return question.lines[key]


def _is_path(run: WarmRun) -> bool:
    return Path(run.config.model).is_absolute()
