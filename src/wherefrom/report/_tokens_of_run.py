"""From a run to the tokens that carry the scores on the page."""

from __future__ import annotations

from dataclasses import replace

from wherefrom.answers import TokenEvidence
from wherefrom.errors import WherefromError
from wherefrom.methods import cannot_take_apart, parse_method
from wherefrom.report._data import Key, ReportData
from wherefrom.report._names import method_names
from wherefrom.report._shown import Shown, checked_key
from wherefrom.run import Run, tokens_of
from wherefrom.safetext import one_line

ROWS = 3
"""Rows of a query whose scores are taken apart."""
REASON = 300


def with_tokens(run: Run, data: ReportData) -> ReportData:
    """The report's data with token evidence of the sample queries' first rows, or with why there is none.

    It is that of the method that was checked, else of the first one shown in full, whose scores are sums
    over tokens.

    Args:
        run: the run that the data is of.
        data: all else of the report.
    """
    shown = Shown.of(data)
    names = method_names(shown.order)
    # tokens are computed under the run's own recipe
    own = [key for key in shown.full if key[0] == run.config.recipes()[0].name]
    own.sort(key=lambda key: key != checked_key(data))
    if not shown.positions or not own:
        return data
    why = []
    for key in own:
        try:
            reason = cannot_take_apart(parse_method(key[1]))
            if reason is None:
                return replace(data, tokens={key: _of(run, data, shown, key)})
        except WherefromError as error:
            reason = one_line(str(error), REASON)
        why.append(f"{names[key]}: {reason.removesuffix('.')}")
    return replace(data, no_tokens=f"No score was taken apart over tokens. {'; '.join(why)}.")


def _of(run: Run, data: ReportData, shown: Shown, key: Key) -> dict[str, tuple[TokenEvidence, ...]]:
    top = shown.scores[key].top(ROWS).ids
    # the queries' signals are in the index
    evidence = run.evidence(run.config.recipes()[0], [parse_method(key[1])])
    return {
        data.queries[position].id: tuple(
            tokens_of(run, data.queries[position], top[place].tolist(), key[1], evidence)
        )
        for place, position in enumerate(shown.positions)
    }
