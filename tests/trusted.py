"""A check made up by hand, with every kind of finding and verdict."""

from wherefrom.diagnose import Finding, SpotCheck, TraceCheck, Trust, Verdict

SPOT = SpotCheck(0.12, (0.01, -0.02, 0.03), (0.05, 0.04), 0.25)
LEVELS = {
    "weights": ("integrity", "good"),
    "rows-fit": ("integrity", "failure"),
    "near-duplicates": ("sanity", "warning"),
    "lexical-overlap": ("sanity", "notice"),
    "base-model": ("sanity", "unknown"),
    "self-retrieval": ("sanity", "good"),
    "curvature-share": ("curvature", "notice"),
    "rank-stability": ("convergence", "good"),
    "movement": ("behaviour", "good"),
    "tail-patch": ("causal", "good"),
}
"""Group and level of each check."""


def finding(name, text="", **changes):
    group, level = LEVELS.get(name, ("sanity", "good"))
    known = {
        "check": name + text,
        "group": group,
        "level": level,
        "measured": f"{name} measured 0.25 of 40 rows.{text}",
        "normal": f"{name} is normally 0.{text}",
        "meaning": f"{name} means that answers are poor.{text}",
        "advice": f"{name} wants a second look.{text}" if level in ("failure", "warning") else "",
        "values": {"ids" + text: ["row" + text]},
    }
    if level == "unknown":
        blank = dict.fromkeys(("normal", "meaning", "advice"), "")
        known |= blank | {"measured": f"not measured: no pass was made at base{text}"}
    return Finding(**{**known, **changes})


def verdict(word, number, text="", reasons=("one thing", "another")):
    return Verdict(word, number, tuple(reason + text for reason in reasons), {"spot": 1.5})


def trace(query, word, number, text="", spot=SPOT, rows=("train-0", "train-1")):
    ids = tuple(row + text for row in rows)
    return TraceCheck(query + text, "influence" + text, ids, verdict(word, number, text), spot)


def trust(text="", **changes):
    """What a check of the run that `test_report.made` makes came to, `text` at the end of every text."""
    known = {
        "method": "influence" + text,
        "k": 2,
        "verdict": verdict("weak", 0.4249, text),
        "findings": [finding(name, text) for name in LEVELS],
        "traces": [
            trace("query-0", "supported", 0.91, text),
            trace("query-1", "cannot tell", None, text, spot=None),
            trace("query-2", "not supported", 0.07, text),
            trace("query-3", "weak", 0.5, text),
        ],
        "seconds": 12.5,
    }
    return Trust(**{**known, **changes})
