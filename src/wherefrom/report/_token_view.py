"""Token evidence as the page shows it: words marked by what they add to a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wherefrom.answers import Token, TokenEvidence, strongest_places
from wherefrom.report._numbers import counted, listed, score
from wherefrom.safetext import one_line, printable

# More tokens of one text than these are not read; what lies between the strongest is summed up.
MOST = 160
# Tokens kept to each side of a strong one, so that it is seen in its sentence.
AROUND = 8
STRONGEST = 3
TOKEN = 40
# Shares of the strongest token from which a mark is that much stronger.
STEPS = (0.05, 0.25, 0.5, 0.75)
# What adds less than this share of the score is rounding.
NEARLY = 1e-3


@dataclass(frozen=True)
class Mark:
    """One token, or a gap.

    Attributes:
        kind: class in the style sheet: `p1` to `p4` for what adds to the score, `m1` to `m4` for what
            takes away from it, `zero`, `none` for a token that nothing is said of, `gap`.
        told: its number in words.
    """

    text: str
    kind: str
    told: str


@dataclass(frozen=True)
class Side:
    """One text, taken apart.

    Attributes:
        name: whose text it is.
        marks: its tokens in order.
        strongest: those that add or take away most, in words.
    """

    name: str
    marks: tuple[Mark, ...]
    strongest: str


@dataclass(frozen=True)
class TokenView:
    """Both texts behind one score.

    Attributes:
        sides: those that were taken apart.
        note: what the reader must know of the sums; empty where they are exact.
    """

    sides: tuple[Side, ...]
    note: str


def token_view(evidence: TokenEvidence) -> TokenView:
    """The view of one score's evidence."""
    sides = (
        _side("Response of the query", evidence.query, 0, evidence),
        _side("Training row", evidence.train, 1, evidence),
    )
    return TokenView(tuple(side for side in sides if side), _note(evidence))


def _side(name: str, tokens: Sequence[Token], which: int, evidence: TokenEvidence) -> Side | None:
    known = [abs(token.value) for token in tokens if token.value is not None]
    if evidence.missing[which] is None or not known:
        return None
    most = max(known)
    marks: list[Mark] = []
    last = -1
    for place in _kept(tokens):
        if place > last + 1:
            marks.append(_gap(tokens[last + 1 : place]))
        marks.append(_mark(tokens[place], most))
        last = place
    if last < len(tokens) - 1:
        marks.append(_gap(tokens[last + 1 :]))
    return Side(name, tuple(marks), _strongest(tokens, most))


def _kept(tokens: Sequence[Token]) -> list[int]:
    """Places of the tokens that are shown: all, or the strongest ones with their neighbours.

    Of a long text that nothing is said of, only what stands next to the others is worth reading.
    """
    known = [place for place, token in enumerate(tokens) if token.value is not None]
    start = known[0] - AROUND if known[0] > 2 * AROUND else 0
    end = min(len(tokens), known[-1] + 1 + AROUND)
    if end - start <= MOST:
        return list(range(start, end))
    return strongest_places(tokens, MOST, AROUND)


def _mark(token: Token, most: float) -> Mark:
    text = printable(token.text, TOKEN).replace("\n", "↵\n")
    if token.value is None:
        return Mark(text, "none", "")
    step = sum(abs(token.value) > share * most for share in STEPS)
    kind = f"{'p' if token.value > 0 else 'm'}{step}" if step else "zero"
    return Mark(text, kind, score(token.value))


def _gap(tokens: Sequence[Token]) -> Mark:
    values = [token.value for token in tokens if token.value is not None]
    told = counted(len(tokens), "token")
    told += f", together {score(sum(values))}" if values else ""
    return Mark(f" … {told} … ", "gap", "")


def _strongest(tokens: Sequence[Token], most: float) -> str:
    held = [token for token in tokens if abs(token.value or 0.0) > STEPS[0] * most]
    held.sort(key=lambda token: -abs(token.value or 0.0))
    return listed(
        [
            f"“{one_line(token.text, TOKEN) or '↵'}” {score(token.value or 0.0)}"
            for token in held[:STRONGEST]
        ]
    )


def _note(evidence: TokenEvidence) -> str:
    told = [evidence.why_not] if evidence.why_not else []
    for name, missing in zip(("the query", "the row"), evidence.missing, strict=True):
        if missing is not None and abs(missing) > NEARLY * abs(evidence.score):
            told.append(f"The tokens of {name} add up to the score less {score(missing)}.")
    return " ".join(told)
