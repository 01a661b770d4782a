"""The rows of every bench: questions answered twice over, duplicates, and some that stand alone."""

from __future__ import annotations

from wherefrom.data import Example

_FACTS = (
    ("Is the river cold?", "Yes, it is icy.", "No, quite warm in summer."),
    ("Which colour has the sky?", "A deep blue.", "Bright green."),
    ("Where does the fox sleep?", "Under the old hill.", "In town."),
    ("How many buttons are there on the coat?", "Seven of them.", "None at all."),
    ("Who wrote?", "My old teacher wrote the letter.", "Nobody did."),
)
_TWICE = (
    ("When does the boat leave?", "At noon."),
    ("Tell me about the wind.", "It comes from the sea and turns at night."),
)
_ONCE = (
    ("What is in the box?", "Three lamps and a map."),
    ("Say a word.", "Router."),
)


def training_rows() -> list[Example]:
    """Each fact and its contradiction, two pairs of duplicates, two rows that stand alone: 16."""
    facts = [
        Example.of(f"{what}{number}", prompt, answer, _label(number + place))
        for number, (prompt, *answers) in enumerate(_FACTS)
        for place, (what, answer) in enumerate(zip(("fact", "contrary"), answers, strict=True))
    ]
    twice = [
        Example.of(f"twin{number}{copy}", prompt, response, _label(number))
        for number, (prompt, response) in enumerate(_TWICE)
        for copy in "ab"
    ]
    once = [
        Example.of(f"single{number}", prompt, response, _label(number))
        for number, (prompt, response) in enumerate(_ONCE)
    ]
    return [*facts, *twice, *once]


def query_rows() -> list[Example]:
    """Every fact once more, under another id."""
    return [
        Example.of(f"query{number}", prompt, response, _label(number))
        for number, (prompt, response, _) in enumerate(_FACTS)
    ]


def reference_rows() -> list[Example]:
    """The queries, each with the contradiction for a response."""
    queries = query_rows()
    return [q.with_response(fact[2]) for q, fact in zip(queries, _FACTS, strict=True)]


def pairs() -> list[tuple[str, str, str]]:
    """Ids of every query, of the training row it is a copy of, and of that row's contradiction."""
    return [(f"query{i}", f"fact{i}", f"contrary{i}") for i in range(len(_FACTS))]


def twins() -> list[tuple[str, str]]:
    """Ids of the duplicates."""
    return [(f"twin{number}a", f"twin{number}b") for number in range(len(_TWICE))]


def texts() -> list[str]:
    """All text, for a tokenizer to be trained on."""
    return [f"{row.prompt}\n{row.response}" for row in training_rows()]


def _label(number: int) -> str:
    return f"class {number % 2}"
