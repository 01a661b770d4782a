"""The registry of metrics."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, TypeVar, cast

import numpy as np

from wherefrom.errors import SettingError
from wherefrom.metrics._truth import Truth
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

_METRICS: dict[str, Metric] = {}
_AT: dict[str, MetricAt] = {}
_LISTED: dict[str, str] = {}


def _claim(name: str) -> None:
    if name in _METRICS or name in _AT:
        raise SettingError(f"two metrics are called {name!r}; rename one.")


def metric(name: str) -> Callable[[AnyMetric], AnyMetric]:
    """Registers a metric under a name; packages use the entry point `wherefrom.metrics`.

    Raises:
        SettingError: the name is taken.
    """

    def register(function: AnyMetric) -> AnyMetric:
        _claim(name)
        _METRICS[name] = function
        _LISTED[name] = _first_line(function)
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
        _claim(name)
        _AT[name] = make
        for k in defaults:
            _LISTED[f"{name}@{k}"] = _first_line(make)
        return make

    return register


def _first_line(function: object) -> str:
    return (function.__doc__ or "").strip().partition("\n")[0]


def _plugins() -> dict[str, EntryPoint]:
    found = {entry.name: entry for entry in entry_points(group="wherefrom.metrics")}
    return {name: entry for name, entry in found.items() if name not in _METRICS}


def _loaded(name: str, entry: EntryPoint) -> Metric:
    try:
        return cast(Metric, entry.load())
    except Exception as error:
        raise SettingError(
            f"metric {name!r} comes from {entry.value}, which cannot be loaded: {error!r}. "
            "Mend or uninstall the package that brings it."
        ) from error


def list_metrics() -> dict[str, str]:
    """Names of the metrics computed by default, each with the first line of its description."""
    found = dict(_LISTED)
    for name, entry in sorted(_plugins().items()):
        try:
            found[name] = _first_line(_loaded(name, entry))
        except SettingError as error:
            # One broken plug-in must not hide the metrics that work.
            found[name] = str(error)
    return found


def find_metric(name: str) -> Metric:
    """The metric of that name; `recall@K` for any whole K from 1.

    Raises:
        SettingError: no metric has that name; the message lists those that exist.
    """
    if name in _METRICS:
        return _METRICS[name]
    family, _, k = name.partition("@")
    if family in _AT and k.isascii() and k.isdigit() and int(k) >= 1:
        return _AT[family](int(k))
    plugins = _plugins()
    if name in plugins:
        return _loaded(name, plugins[name])
    names = sorted({*_METRICS, *(f"{name}@K" for name in _AT), *plugins})
    raise SettingError(f"no metric is called {name!r}. Metrics: {', '.join(names)}.")
