"""Which training examples made a fine-tuned language model say this?

Example:
    import wherefrom as wf

    run = wf.open("runs/demo")
    answer = run.trace("How do I reset it?")
    answer.top(10).to_pandas()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wherefrom.answers import Answer
    from wherefrom.data import Example, read_examples
    from wherefrom.errors import WherefromError
    from wherefrom.models import TrajectoryCallback
    from wherefrom.run import Run
    from wherefrom.run import Run as _Run
    from wherefrom.scores import Ranked, Scores, TopK

    open = _Run.open

__version__ = "0.1.0"

_HOMES = {
    "Answer": "answers",
    "Example": "data",
    "Ranked": "scores",
    "Run": "run",
    "Scores": "scores",
    "TopK": "scores",
    "TrajectoryCallback": "models",
    "WherefromError": "errors",
    "read_examples": "data",
}

__all__ = [
    "Answer",
    "Example",
    "Ranked",
    "Run",
    "Scores",
    "TopK",
    "TrajectoryCallback",
    "WherefromError",
    "open",
    "read_examples",
]


def __getattr__(name: str) -> Any:
    # torch is imported when something is used, not when --help is asked for
    from importlib import import_module

    if name == "open":
        return import_module("wherefrom.run").Run.open
    if name in _HOMES:
        return getattr(import_module(f"wherefrom.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'wherefrom' has no attribute {name!r}")
