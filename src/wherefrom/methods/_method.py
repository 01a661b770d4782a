"""Method: what every attribution method is, and the list of them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, ClassVar, TypeVar

import numpy as np

from wherefrom.curvature import GramBlock
from wherefrom.data import Example, Recipe
from wherefrom.errors import SettingError
from wherefrom.registry import Registry
from wherefrom.signals import Need, Source


@dataclass(frozen=True)
class Evidence:
    """Everything that a method may look at; which of it is there follows from what it needs.

    Attributes:
        train_rows: training examples.
        query_rows: queries.
        train: signals of the training rows; None where no method needs the model.
        query: signals of the queries, under the same identity.
        recipe: damping and the rest.
    """

    train_rows: Sequence[Example]
    query_rows: Sequence[Example]
    train: Source | None
    query: Source | None
    recipe: Recipe

    def read(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """One array for training rows and queries.

        Raises:
            SettingError: the signals were not captured.
        """
        if self.train is None or self.query is None:
            raise SettingError(f"{name} was not captured: this method needs the model's signals.")
        return self.train.read(name), self.query.read(name)


@dataclass(frozen=True)
class Method(ABC):
    """An attribution method. Fields are its settings; it holds no state and never runs a model.

    Scores it gives follow one sign: higher = pushed the model more towards the query's response.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[Need]]
    family: ClassVar[str]
    paper: ClassVar[str] = ""
    unit: ClassVar[str] = "arbitrary"

    @classmethod
    def variants(cls) -> list[Method]:
        """The settings that `--methods all` runs; the defaults alone unless a method says more."""
        return [cls()]

    def settings(self) -> dict[str, Any]:
        """Every setting, defaults too."""
        return asdict(self)

    @property
    def spec(self) -> str:
        """The method as typed: its name and the settings that differ from the defaults."""
        changed = [
            f"{f.name}={_shown(getattr(self, f.name))}"
            for f in fields(self)
            if getattr(self, f.name) != f.default
        ]
        return f"{self.name}({', '.join(changed)})" if changed else self.name

    @property
    def cost(self) -> str:
        """Cost class: text, forward, or one pass."""
        if Need.GRADIENT in self.needs:
            return "one pass"
        return "forward" if Need.HIDDEN in self.needs else "text"


@dataclass(frozen=True)
class DirectMethod(Method):
    """A method that looks at text or states and answers at once."""

    @abstractmethod
    def score(self, evidence: Evidence) -> np.ndarray:
        """Scores, queries × training rows; higher = pushed the model more towards the response."""


@dataclass(frozen=True)
class BlockMethod(Method):
    """A method that sees one block's Gram matrices at a time, so that all of them share each block.

    `scope="block"` methods treat every weight matrix by itself and add up; `scope="whole"` methods see
    all blocks as one long gradient.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENT})
    scope: str = "block"
    spectral: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.scope not in ("block", "whole"):
            raise SettingError(f"{self.name}: scope must be block or whole, not {self.scope!r}.")

    @abstractmethod
    def contribution(self, block: GramBlock, recipe: Recipe) -> dict[str, np.ndarray]:
        """What one block adds: `score` (queries × training rows) and whatever `finish` needs."""

    def finish(self, sums: dict[str, np.ndarray], blocks: int) -> np.ndarray:
        """Scores from what the blocks added up to."""
        return sums["score"]

    def measured(self, sums: dict[str, np.ndarray], blocks: int) -> dict[str, Any]:
        """What the method found out about itself, put beside its settings."""
        return {}


M = TypeVar("M", bound=type[Method])
_METHODS: Registry[type[Method]] = Registry("method", "wherefrom.methods")


def method(name: str) -> Callable[[M], M]:
    """Registers a method under a name; packages use the entry point `wherefrom.methods`."""

    def register(cls: M) -> M:
        _METHODS.add(name, cls)
        cls.name = name
        return cls

    return register


def registered() -> dict[str, type[Method]]:
    """All methods by name, those of other installed packages too."""
    return _METHODS.loaded()


def parse_method(spec: str) -> Method:
    """The method that a spec names: `NAME` or `NAME(setting=value, …)`.

    Example:
        >>> parse_method("gradient_cosine(scope=whole)").spec
        'gradient_cosine(scope=whole)'

    Raises:
        SettingError: no such method or setting; the message lists those that exist.
    """
    match = re.fullmatch(r"\s*([\w-]+)\s*(?:\((.*)\))?\s*", spec, re.DOTALL)
    if match is None:
        raise SettingError(f"{spec!r} is no method; write NAME or NAME(setting=value, …).")
    cls = _METHODS.get(match[1])
    known = {f.name: f for f in fields(cls)}
    settings = {}
    for part in filter(None, (p.strip() for p in (match[2] or "").split(","))):
        key, equals, text = (p.strip() for p in part.partition("="))
        if not equals or key not in known:
            raise SettingError(
                f"{match[1]} has no setting {key!r}. Settings: "
                f"{', '.join(f'{k}={_shown(f.default)}' for k, f in known.items()) or 'none'}."
            )
        settings[key] = _value(text, f"{match[1]}({key})", known[key].default)
    return cls(**settings)


def select_methods(specs: Sequence[str]) -> list[Method]:
    """The methods that specs name, each once, in the order given; `all` stands for every variant.

    Raises:
        SettingError: a spec names no method, or nothing is chosen.
    """
    chosen: dict[str, Method] = {}
    for spec in specs:
        if spec == "all":
            found = [v for cls in registered().values() for v in cls.variants()]
        else:
            found = [parse_method(spec)]
        chosen |= {m.spec: m for m in found if m.spec not in chosen}
    if not chosen:
        raise SettingError("no method was chosen; give names or all.")
    return list(chosen.values())


def split_specs(text: str) -> list[str]:
    """Cuts `a,b(x=1,y=2),c` at the commas outside brackets.

    Example:
        >>> split_specs("bm25, repsim(layer=3,centre=true)")
        ['bm25', 'repsim(layer=3,centre=true)']
    """
    return [part.strip() for part in re.split(r",(?![^(]*\))", text) if part.strip()]


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value(text: str, where: str, default: Any) -> Any:
    if default is MISSING:
        return text
    if text.lower() in ("none", "null"):
        return None
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise SettingError(f"{where} must be true or false, not {text!r}.")
        return text.lower() == "true"
    if isinstance(default, str):
        return text
    try:
        return int(text) if isinstance(default, int) else float(text)
    except ValueError:
        raise SettingError(f"{where} must be a number, not {text!r}.") from None
