"""Checks: what holds for every honest method, each a function that returns, skips or fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np

from wherefrom.data import Example
from wherefrom.errors import WherefromError
from wherefrom.methods import Method, Trait, parse_method, registered
from wherefrom.run import IndexSettings
from wherefrom.scores import Scores
from wherefrom.testing._bench import Bench
from wherefrom.testing._rows import pairs, twins

NOISE = 1e-4
"""Largest change that other batches, pads or places in the file may make, as a share of the query's largest
score: sums of float32 numbers in another order, then an inverse."""
SAME = 5e-7
"""Differences up to that share of the query's largest score count as none: a few units in the last
place."""

Check = Callable[[Method, Bench], "str | None"]
_CHECKS: dict[str, Check] = {}


class Failed(Exception):
    """What a check found wrong."""


def checks() -> dict[str, Check]:
    """All checks by name; each returns None, or the reason why it does not apply."""
    return dict(_CHECKS)


def _check(function: Check) -> Check:
    _CHECKS[function.__name__] = function
    return function


@_check
def shape_and_ids(m: Method, bench: Bench) -> str | None:
    """Queries × training rows in the order given, finite; settings and spec say what was run."""
    scores = bench.score(m)
    _require(
        scores.query_ids == tuple(row.id for row in bench.queries)
        and scores.train_ids == tuple(row.id for row in bench.train),
        "the ids of the scores are not those of the rows, in their order",
    )
    values = scores.values
    shape = (len(bench.queries), len(bench.train))
    _require(
        values.shape == shape and values.dtype == np.float32 and bool(np.isfinite(values).all()),
        f"scores must be finite float32 of shape {shape}, not {values.dtype} of {values.shape}",
    )
    _require(bool(scores.unit.strip()), "unit is empty; say what one unit is, or leave `arbitrary`")
    _require(bool(m.family.strip()), "family is empty")
    for f in fields(m):
        want = getattr(m, f.name)
        _require(
            f.name in scores.settings and scores.settings[f.name] == want,
            f"the scores' settings do not say {f.name}={want!r}; settings() must give every field",
        )
    _require(scores.settings.get("recipe") == bench.recipe.name, "settings do not name the recipe")
    _require(
        scores.method == m.spec, f"the scores call themselves {scores.method!r}, not {m.spec!r}"
    )
    if registered().get(m.name) is type(m):
        again = parse_method(m.spec)
        _require(again == m, f"its spec {m.spec!r} is read back as {again!r}, not {m!r}")
    return None


@_check
def sign(m: Method, bench: Bench) -> str | None:
    """A training row that is its own query stands first, and one that contradicts it lower.

    A product of vectors may favour a longer vector now and then, so the row must be among the first four
    of 16 for every query, and first (ties allowed) for most. Under `STOCHASTIC`: in the first half, and
    above its contradiction for most queries.
    """
    for trait in (Trait.NO_EVIDENCE, Trait.QUERY_FREE, Trait.DIFFERENCE):
        if trait in m.traits:
            return f"declares {trait.name}"
    scores = bench.score(m)
    rows, asked = len(scores.train_ids), len(scores.query_ids)
    drawn = Trait.STOCHASTIC in m.traits
    loose = {Trait.RESPONSE_BLIND, Trait.LOOSE_SELF} & m.traits
    limit = rows // 2 if drawn else rows // 4
    firsts, told = 0, 0
    for query, own, contrary in pairs():
        others, same = _of(scores, query)
        mine, against = others.pop(own), others[contrary]
        if loose:
            others.pop(contrary)
        above = [row for row, value in others.items() if value > mine + same]
        alike = [row for row, value in others.items() if abs(value - mine) <= same]
        firsts += not above
        told += mine > against + same
        what = f"query {query!r} is a copy of training row {own!r}, which scores {mine:.6g}"
        best = max(others, key=lambda row: others[row])
        _require(
            len(above) < limit and len(above) + len(alike) < rows // 2,
            f"{what}: place {len(above) + 1} of {rows}, {len(alike)} others alike; {best!r} scores "
            f"{others[best]:.6g}. It must be among the first {limit} and above most: higher = pushed the "
            "model more towards the response",
        )
        blind = Trait.RESPONSE_BLIND in m.traits and abs(mine - against) <= same
        _require(
            mine > against + same or drawn or blind or Trait.LOOSE_SELF in m.traits,
            f"{what}; {contrary!r}, the same prompt answered otherwise, scores {against:.6g} and must "
            "score lower",
        )
    _require(
        drawn or firsts > asked // 2,
        f"a query's own training row stands first for {firsts} of {asked} queries; it must for most",
    )
    _require(
        bool(loose) or told > asked // 2,
        f"a query's own training row scores above its contradiction for {told} of {asked} queries; it "
        "must for most",
    )
    return None


@_check
def determinism(m: Method, bench: Bench) -> str | None:
    """Signals captured anew and scored again give the same numbers, drawn ones too: seeds are settings."""
    _alike(bench.score(m), bench.score(m, take=1), SAME, "scored a second time")
    return None


@_check
def row_order(m: Method, bench: Bench) -> str | None:
    """Training rows in another order are scored alike."""
    order = np.random.default_rng(0).permutation(len(bench.train))
    got = bench.score(m, train=[bench.train[i] for i in order])
    _alike(bench.score(m), got, NOISE, "with the training rows in another order")
    return None


@_check
def batch_size(m: Method, bench: Bench) -> str | None:
    """Each row in a batch of its own is scored as it is among others."""
    alone = IndexSettings.model_validate({"batch_tokens": 1})
    _alike(bench.score(m), bench.score(m, settings=alone), NOISE, "with batches of one row")
    return None


@_check
def padding_side(m: Method, bench: Bench) -> str | None:
    """Pads on the left change nothing."""
    left = IndexSettings.model_validate({"padding_side": "left"})
    _alike(bench.score(m), bench.score(m, settings=left), NOISE, "with batches padded on the left")
    return None


@_check
def duplicates(m: Method, bench: Bench) -> str | None:
    """Training rows that differ in nothing but their id score alike."""
    if Trait.ROW_SET in m.traits:
        return f"declares {Trait.ROW_SET.name}"
    if Trait.NO_EVIDENCE in m.traits:
        return f"declares {Trait.NO_EVIDENCE.name}: may go by ids"
    scores = bench.score(m)
    limits = _scale(scores.values) * NOISE
    for left, right in twins():
        gaps = np.abs(
            np.subtract(*(scores.values[:, scores.train_ids.index(i)] for i in (left, right)))
        )
        worst = int(np.argmax(gaps - limits))
        _require(
            bool(gaps[worst] <= limits[worst]),
            f"training rows {left!r} and {right!r} are the same but for their ids; for query "
            f"{scores.query_ids[worst]!r} their scores differ by {gaps[worst]:.3g}. Declare "
            "Trait.ROW_SET if they are meant to",
        )
    return None


@_check
def query_independence(m: Method, bench: Bench) -> str | None:
    """A query is scored alike whichever other queries are asked with it."""
    if Trait.QUERY_SET in m.traits:
        return f"declares {Trait.QUERY_SET.name}"
    for asked in _fewer(bench):
        got = bench.score(m, queries=asked)
        _alike(bench.score(m), got, NOISE, "with fewer queries beside it")
    return None


@_check
def small_sets(m: Method, bench: Bench) -> str | None:
    """One row and one query are scored; no rows or no queries give no scores, or a clear error."""
    faults = []
    sizes = (
        ("one row and one query", 1, 1),
        ("no queries", None, 0),
        ("no training rows", 0, None),
    )
    for what, rows, queries in sizes:
        train, asked = bench.train[:rows], bench.queries[:queries]
        try:
            shape = bench.score(m, train, asked).values.shape
            if shape != (len(asked), len(train)):
                faults.append(f"{what}: scores have shape {shape}")
        except Exception as error:
            if not isinstance(error, WherefromError):
                fix = (
                    "; give an empty matrix, or raise a SettingError"
                    if 0 in (rows, queries)
                    else ""
                )
                faults.append(f"{what}: {type(error).__name__}: {error}{fix}")
            elif rows == queries:
                faults.append(f"{what} must be scored: {error}")
    _require(not faults, "; ".join(faults))
    return None


@_check
def declared_traits(m: Method, bench: Bench) -> str | None:
    """A trait that can be tested is not declared in vain; those not declared fail the other checks."""
    testable = {Trait.QUERY_SET, Trait.QUERY_FREE, Trait.RESPONSE_BLIND} & m.traits
    if not testable:
        return "declares no trait that can be tested"
    scores = bench.score(m)
    if Trait.QUERY_SET in testable:
        others = [bench.score(m, queries=asked) for asked in _fewer(bench)]
        changed = any(_furthest(scores, got)[0] > NOISE for got in others)
        _require(changed, "declares QUERY_SET, yet a query's scores do not depend on other queries")
    if Trait.QUERY_FREE in testable:
        spread = np.ptp(scores.values, axis=0).max()
        _require(
            bool(spread <= NOISE * np.abs(scores.values).max()),
            "declares QUERY_FREE, yet queries get different scores",
        )
    if Trait.RESPONSE_BLIND in testable:
        for query, own, contrary in pairs():
            values, same = _of(scores, query)
            _require(
                abs(values[own] - values[contrary]) <= same,
                f"declares RESPONSE_BLIND, yet tells {own!r} ({values[own]:.6g}) from {contrary!r} "
                f"({values[contrary]:.6g}) for query {query!r}",
            )
    return None


CHECKS = tuple(_CHECKS)
"""Names of the checks, in the order in which they are run."""


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise Failed(message)


def _fewer(bench: Bench) -> list[list[Example]]:
    """One query alone, and two in another order."""
    return [[bench.queries[0]], [bench.queries[3], bench.queries[0]]]


def _of(scores: Scores, query: str) -> tuple[dict[str, float], float]:
    """A query's scores by training row, and the difference that counts as none."""
    values = scores.for_query(query).astype(np.float64)
    same = SAME * float(np.abs(values).max())
    return dict(zip(scores.train_ids, values.tolist(), strict=True)), same


def _scale(values: np.ndarray) -> np.ndarray:
    """Each query's largest score; a query whose scores are next to nothing is held to all of them."""
    scale = np.abs(values).max(axis=1, initial=0.0)
    return np.asarray(np.maximum(scale, 1e-6 * scale.max(initial=0.0)))


def _furthest(want: Scores, got: Scores) -> tuple[float, str, str, float, float]:
    """The largest difference as a share of its query's scale, and where it is."""
    rows = [want.query_ids.index(i) for i in got.query_ids]
    columns = [want.train_ids.index(i) for i in got.train_ids]
    expected = want.values[np.ix_(rows, columns)].astype(np.float64)
    found = got.values.astype(np.float64)
    scale = _scale(want.values)[rows, None]
    gaps = np.abs(found - expected)
    shares = np.divide(gaps, scale, out=np.where(gaps > 0, np.inf, 0.0), where=scale > 0)
    q, t = np.unravel_index(int(np.argmax(shares)), shares.shape)
    at = (got.query_ids[q], got.train_ids[t])
    return float(shares[q, t]), *at, float(expected[q, t]), float(found[q, t])


def _alike(want: Scores, got: Scores, tolerance: float, what: str) -> None:
    share, query, row, expected, found = _furthest(want, got)
    _require(
        share <= tolerance,
        f"{what}, query {query!r} and training row {row!r} score {found:.6g}, not {expected:.6g}: off by "
        f"{share:.1e} of the query's largest score, more than {tolerance:.0e}",
    )
