"""The registry of metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np

from wherefrom.errors import SettingError
from wherefrom.metrics._truth import Truth
from wherefrom.registry import Registry
from wherefrom.scores import Scores


class Metric(Protocol):
    """Judges scores, one value for each query.

    Called with the scores, the relevance in the scores' own order (boolean, queries × training
    rows), and the truth for whatever else is known. Gives float64, one value for each query, higher
    = better; NaN where the metric is undefined for that query.
    """

    def __call__(self, scores: Scores, relevance: np.ndarray, truth: Truth, /) -> np.ndarray: ...


MetricAt = Callable[[int], Metric]
"""Makes the metric that looks at the first k rows."""

AnyMetric = TypeVar("AnyMetric", bound=Metric)

_METRICS: Registry[Metric] = Registry("metric", "wherefrom.metrics")
_AT: dict[str, MetricAt] = {}
_DEFAULTS: dict[str, list[str]] = {}


def metric(name: str) -> Callable[[AnyMetric], AnyMetric]:
    """Registers a metric under a name; packages use the entry point `wherefrom.metrics`.

    Raises:
        SettingError: the name is taken.
    """

    def register(function: AnyMetric) -> AnyMetric:
        if name in _AT:
            raise SettingError(f"two metrics are called {name!r}; rename one.")
        _METRICS.add(name, function)
        _DEFAULTS[name] = [name]
        return function

    return register


def metric_at(name: str, *defaults: int) -> Callable[[MetricAt], MetricAt]:
    """Registers a family of metrics, one for each k from 1, called `NAME@K`.

    Args:
        name: what stands before the `@`.
        defaults: the k's that are computed where nobody chooses metrics.

    Raises:
        SettingError: the name is taken.
    """

    def register(make: MetricAt) -> MetricAt:
        if name in _AT or name in _METRICS.ours:
            raise SettingError(f"two metrics are called {name!r}; rename one.")
        _AT[name] = make
        _DEFAULTS[name] = [f"{name}@{k}" for k in defaults]
        return make

    return register


def list_metrics() -> dict[str, str]:
    """Names of the metrics computed by default, each with the first line of its description."""
    about = _METRICS.about()
    about |= {name: (make.__doc__ or "").strip().partition("\n")[0] for name, make in _AT.items()}
    ours = {shown: about[name] for name, shown_all in _DEFAULTS.items() for shown in shown_all}
    return ours | {name: text for name, text in about.items() if name not in _DEFAULTS}


def find_metric(name: str) -> Metric:
    """The metric of that name; `recall@K` for any whole K from 1.

    Raises:
        SettingError: no metric has that name; the message lists those that exist.
    """
    family, _, k = name.partition("@")
    if family in _AT and k.isascii() and k.isdigit() and int(k) >= 1:
        return _AT[family](int(k))
    if name not in _METRICS.names():
        names = sorted({*_METRICS.names(), *(f"{family}@K" for family in _AT)})
        raise SettingError(f"no metric is called {name!r}. Metrics: {', '.join(names)}.")
    return _METRICS.get(name)
