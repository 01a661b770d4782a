"""Baselines that never see the model: BM25, TF-IDF and chance."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xxhash

from wherefrom.data import Example
from wherefrom.errors import SettingError
from wherefrom.methods._evidence import Evidence
from wherefrom.methods._method import DirectMethod, Trait
from wherefrom.methods._registry import method

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class _TextMethod(DirectMethod):
    """A method that compares words.

    Attributes:
        text: which text is compared: `both`, `prompt` or `response`.
    """

    family: ClassVar[str] = "text"
    text: str = "both"

    def __post_init__(self) -> None:
        if self.text not in ("both", "prompt", "response"):
            raise SettingError(
                f"{self.name}: text must be both, prompt or response, not {self.text!r}."
            )

    def words(self, rows: Sequence[Example]) -> list[list[str]]:
        """Lower-case words of the chosen text of each row."""
        parts = {"both": ("prompt", "response")}.get(self.text, (self.text,))
        texts = ("\n".join(getattr(row, part) for part in parts) for row in rows)
        return [_WORD.findall(text.lower()) for text in texts]


@method("bm25")
@dataclass(frozen=True)
class BM25(_TextMethod):
    """BM25 of the query's words over the training rows (bm25s, Lucene's variant)."""

    unit: ClassVar[str] = "BM25 score"

    def score(self, evidence: Evidence) -> np.ndarray:
        """BM25 scores; 0 for rows that share no word."""
        import bm25s

        corpus = self.words(evidence.train_rows)
        known = {word for row in corpus for word in row}
        values = np.zeros((len(evidence.query_rows), len(corpus)))
        if not known:
            return values
        index = bm25s.BM25()
        index.index(corpus, show_progress=False)
        for number, words in enumerate(self.words(evidence.query_rows)):
            shared = [word for word in words if word in known]
            if shared:
                values[number] = index.get_scores(shared)
        return values


@method("tfidf")
@dataclass(frozen=True)
class TfIdf(_TextMethod):
    """Cosine of TF-IDF vectors (scikit-learn's defaults, fitted on the training rows)."""

    unit: ClassVar[str] = "cosine, 0 to 1"

    def score(self, evidence: Evidence) -> np.ndarray:
        """Cosines; 0 for rows that share no word."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        corpus = self.words(evidence.train_rows)
        if not any(corpus) or not evidence.query_rows:
            return np.zeros((len(evidence.query_rows), len(corpus)))
        vectorizer: Any = TfidfVectorizer(analyzer=list)
        train = vectorizer.fit_transform(corpus)
        query = vectorizer.transform(self.words(evidence.query_rows))
        return np.asarray((query @ train.T).todense())


@method("random")
@dataclass(frozen=True)
class Random(DirectMethod):
    """Chance: a uniform number drawn from the seed and the two rows' ids.

    Attributes:
        seed: which draw.
    """

    family: ClassVar[str] = "baseline"
    unit: ClassVar[str] = "uniform, 0 to 1"
    seed: int = 0

    @property
    def traits(self) -> frozenset[Trait]:
        """Chance knows nothing."""
        return frozenset({Trait.NO_EVIDENCE})

    def score(self, evidence: Evidence) -> np.ndarray:
        """Numbers that depend on ids and seed alone, not on the order of rows."""
        return np.array(
            [
                [_uniform(q.id, t.id, self.seed) for t in evidence.train_rows]
                for q in evidence.query_rows
            ]
        )


def _uniform(query: str, train: str, seed: int) -> float:
    pair = f"{query}\x00{train}".encode("utf-8", "surrogatepass")
    return xxhash.xxh3_64_intdigest(pair, seed=seed) / 2**64
