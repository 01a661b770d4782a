"""Sentence embeddings: the cosine of texts under a model of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from wherefrom.curvature import inverse_norms
from wherefrom.data import Example
from wherefrom.errors import SettingError
from wherefrom.methods._evidence import Evidence
from wherefrom.methods._method import DirectMethod, Resource
from wherefrom.methods._registry import method

_PICKLED = ("pytorch_model*.bin", "adapter_model*.bin")


@method("embedding")
@dataclass(frozen=True)
class Embedding(DirectMethod):
    """Cosine of sentence embeddings by any local sentence-transformers model; never sees the traced model.

    Both sides are embedded alike and as the embedder's own settings say: with its default prompt or chat
    template, if it names one, and cut at its longest input. Nothing is fetched, code that ships with a
    model is not run and pickled weights are not loaded.

    Attributes:
        model: folder of the sentence-transformers model.
        text: which text is compared: `both`, `prompt` or `response`.
    """

    family: ClassVar[str] = "text"
    unit: ClassVar[str] = "cosine, −1 to 1"
    model: str = ""
    text: str = "both"

    def __post_init__(self) -> None:
        if self.text not in ("both", "prompt", "response"):
            raise SettingError(
                f"{self.name}: text must be both, prompt or response, not {self.text!r}."
            )

    @property
    def requires(self) -> frozenset[Resource]:
        """An embedder, where none is given."""
        return self.resources | (frozenset() if self.model else {Resource.EMBEDDER})

    def score(self, evidence: Evidence) -> np.ndarray:
        """Cosines, queries × training rows; 0 where a text is empty or its embedding is zero.

        Raises:
            SettingError: no model is given, it is no folder, or it cannot be loaded.
        """
        model = self._load()
        train = self._embedded(model, evidence.train_rows)
        query = self._embedded(model, evidence.query_rows)
        if not (train.size and query.size):
            return np.zeros((len(query), len(train)))
        return np.asarray(query @ train.T)

    def _load(self) -> Any:
        if not self.model:
            raise SettingError(
                f"{self.name}: no model was given; write {self.name}(model=FOLDER), the folder of a "
                "sentence-transformers model."
            )
        folder = Path(self.model).expanduser()
        if not folder.is_dir():
            raise SettingError(
                f"{self.name}: {self.model} is no folder here. Give model the folder of a "
                "sentence-transformers model; nothing is fetched."
            )
        try:
            import sentence_transformers
        except ImportError:
            raise SettingError(
                f"{self.name} needs sentence-transformers: pip install 'wherefrom[embeddings]'"
            ) from None
        # before 6.0 a local folder's own modules were imported whatever trust_remote_code said
        if int(sentence_transformers.__version__.partition(".")[0]) < 6:
            raise SettingError(
                f"{self.name} needs sentence-transformers 6.0 or later, not "
                f"{sentence_transformers.__version__}: pip install -U 'wherefrom[embeddings]'"
            )
        _refuse_pickled(self.name, folder)
        try:
            return sentence_transformers.SentenceTransformer(
                str(folder),
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"use_safetensors": True},
            )
        except Exception as error:
            reason = (str(error).strip().splitlines() or [""])[0][:300]
            raise SettingError(
                f"{self.name}: {self.model} cannot be loaded as a sentence-transformers model "
                f"({type(error).__name__}: {reason})."
            ) from None

    def _embedded(self, model: Any, rows: Sequence[Example]) -> np.ndarray:
        parts = {"both": ("prompt", "response")}.get(self.text, (self.text,))
        texts = ["\n".join(getattr(row, part) for part in parts) for row in rows]
        # each text once and sorted: what a text is batched with moves its embedding in the last bits;
        # and some tokenizers make no token of an empty text, which models cannot be fed
        distinct = sorted({text for text in texts if text})
        if not distinct:
            return np.zeros((len(rows), 0))
        found = np.asarray(model.encode(distinct, show_progress_bar=False), dtype=np.float64)
        found *= inverse_norms((found**2).sum(1))[:, None]
        place = {text: number for number, text in enumerate(distinct)}
        vectors = np.zeros((len(rows), found.shape[1]))
        for number, text in enumerate(texts):
            if text:
                vectors[number] = found[place[text]]
        return vectors


def _refuse_pickled(name: str, folder: Path) -> None:
    for pattern in _PICKLED:
        for path in sorted(folder.rglob(pattern)):
            if not any(path.parent.glob("*.safetensors")):
                raise SettingError(
                    f"{name}: {path} is pickled and no safetensors file lies beside it. Pickled weights "
                    "are not loaded; save the model again with safe_serialization=True."
                )
