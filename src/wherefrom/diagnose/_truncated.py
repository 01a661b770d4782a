"""Which rows lost their end to the length limit?"""

from __future__ import annotations

from wherefrom.diagnose._check import check
from wherefrom.diagnose._finding import Finding, Level
from wherefrom.diagnose._subject import Subject
from wherefrom.diagnose._wording import LISTED, counted, named, percent

_FEW = 0.05
"""Share of the training rows up to which cut rows are worth no more than a notice."""


@check("truncated", "integrity")
def truncated(subject: Subject) -> Finding:
    """Rows that lost their end to the length limit."""
    rows = [row.id for row in subject.train_tokens if row.truncated]
    queries = [row.id for row in subject.query_tokens if row.truncated]
    limit = subject.recipe.max_length
    values = {
        "limit": limit,
        "rows": len(rows),
        "queries": len(queries),
        "row_ids": rows[:LISTED],
        "query_ids": queries[:LISTED],
    }
    normal = "No row is cut."
    if not rows and not queries:
        text = f"No training row and no query is longer than {limit:,} tokens."
        return Finding("truncated", "integrity", "good", text, normal, values=values)
    share = len(rows) / max(1, len(subject.train_tokens))
    parts = []
    if rows:
        parts.append(f"{counted(len(rows), 'training row')} ({percent(share)}): {named(rows)}")
    if queries:
        parts.append(f"{counted(len(queries), 'query', 'queries')}: {named(queries)}")
    level: Level = "warning" if queries or share > _FEW else "notice"
    return Finding(
        "truncated",
        "integrity",
        level,
        f"Cut at {limit:,} tokens: {'; '.join(parts)}.",
        normal,
        "What stood after the cut taught the model nothing and explains nothing; the end of a cut response "
        "is missing from its gradient.",
        "Raise --max-length, or shorten these rows.",
        values,
    )
