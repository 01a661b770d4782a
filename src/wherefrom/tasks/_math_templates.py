"""Ten kinds of word problem, each with its own computation and several wordings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

from wherefrom.tasks._words import listed

NAMES = listed(
    "Mira Tobias Ines Kofi Lena Ravi Nora Emil Yuki Omar Petra Samir Greta Jonas Alma Hugo "
    "Farah Viktor Celia Bruno"
)
THINGS = listed(
    "shells stamps marbles beads buttons cards stickers pencils apples plums candles badges "
    "pebbles walnuts postcards magnets"
)


@dataclass(frozen=True)
class Template:
    """One kind of word problem.

    Attributes:
        wordings: the question with places for `name`, `things` and the numbers `a` to `d`.
        working: the computation with places for the numbers.
        result: the same computation in whole numbers.
        numbers: values for a, b, … for which the result is a positive whole number.
    """

    wordings: tuple[str, ...]
    working: str
    result: Callable[..., int]
    numbers: tuple[tuple[int, ...], ...]


TEMPLATES: dict[str, Template] = {
    "gain and lose": Template(
        (
            "{name} has {a} {things}, finds {b} more and loses {c}. How many are left?",
            "{a} {things} lie in a drawer. {name} adds {b} and takes {c}. How many stay?",
            "Starting with {a} {things}, {name} wins {b}, then drops {c}. What is the count?",
        ),
        "{a} + {b} - {c}",
        lambda a, b, c: a + b - c,
        tuple(product(range(20, 40), range(5, 15), range(2, 10))),
    ),
    "packs and loose": Template(
        (
            "{name} buys {a} boxes of {b} {things} and {c} loose ones. How many in all?",
            "{a} bags hold {b} {things} each, and {name} adds {c}. What is the total?",
            "{name} fills {a} jars with {b} {things} each; {c} do not fit. How many are there?",
        ),
        "{a} * {b} + {c}",
        lambda a, b, c: a * b + c,
        tuple(product(range(2, 10), range(5, 13), range(1, 10))),
    ),
    "keep and share": Template(
        (
            "{name} keeps {b} of {a} {things}; {c} friends share the rest. How many each?",
            "Of {a} {things}, {b} are broken. {name} splits the others among {c}. How many each?",
            "After losing {b} of {a} {things}, {name} fills {c} bowls. How many in a bowl?",
        ),
        "({a} - {b}) / {c}",
        lambda a, b, c: (a - b) // c,
        tuple(
            (share * friends + kept, kept, friends)
            for share, friends, kept in product(range(2, 12), range(2, 9), range(1, 10))
        ),
    ),
    "change": Template(
        (
            "{name} pays for {b} {things} at {c} coins each with {a} coins. How much comes back?",
            "Out of {a} coins, {name} buys {b} {things} for {c} each. How many coins remain?",
            "{b} {things} cost {c} coins apiece. {name} had {a} coins. What is left?",
        ),
        "{a} - {b} * {c}",
        lambda a, b, c: a - b * c,
        tuple(product(range(60, 101, 5), range(2, 8), range(2, 9))),
    ),
    "all around": Template(
        (
            "{name} ties a cord round a box of {things}, {a} by {b} cm. How long is the cord?",
            "A tray of {things} is {a} cm long, {b} cm wide. {name} walks its edge. How far?",
            "{name} frames a {a} by {b} cm picture of {things}. How much edge is that?",
        ),
        "2 * ({a} + {b})",
        lambda a, b: 2 * (a + b),
        tuple(product(range(10, 40), range(5, 30))),
    ),
    "mean of three": Template(
        (
            "{name} finds {a}, {b} and {c} {things} on three days. What is the daily mean?",
            "Three bags hold {a}, {b} and {c} {things}. {name} evens them out. How many each?",
            "{name} sold {a}, then {b}, then {c} {things}. What is the average sale?",
        ),
        "({a} + {b} + {c}) / 3",
        lambda a, b, c: (a + b + c) // 3,
        tuple(
            numbers
            for numbers in product(range(3, 16), range(3, 16), range(3, 16))
            if sum(numbers) % 3 == 0
        ),
    ),
    "two kinds of rows": Template(
        (
            "{name} lays {a} rows of {b} {things} and {c} rows of {d}. How many in all?",
            "{a} tins with {b} {things} and {c} tins with {d} belong to {name}. What is the sum?",
            "{name} has {a} sets of {b} {things} plus {c} sets of {d}. How many is that?",
        ),
        "{a} * {b} + {c} * {d}",
        lambda a, b, c, d: a * b + c * d,
        tuple(product(range(2, 7), range(3, 10), range(2, 7), range(3, 10))),
    ),
    "more than": Template(
        (
            "{name} has {a} {things}; a friend has {b} more. How many do both have together?",
            "One shelf holds {a} {things}, the next {b} more than that. {name} counts both. Total?",
            "{name} picks {a} {things} and on the next day {b} more than before. How many in sum?",
        ),
        "{a} + ({a} + {b})",
        lambda a, b: a + (a + b),
        tuple(product(range(10, 40), range(2, 20))),
    ),
    "half and add": Template(
        (
            "{name} gives away half of {a} {things}, then finds {b}. How many now?",
            "Half of {a} {things} are gone; {name} brings {b} new ones. How many are there?",
            "{name} sells every second one of {a} {things} and buys {b}. What is the stock?",
        ),
        "{a} / 2 + {b}",
        lambda a, b: a // 2 + b,
        tuple(product(range(10, 80, 2), range(3, 20))),
    ),
    "percent off": Template(
        (
            "A set of {things} costs {a} coins. {name} gets {b} percent off. What is the price?",
            "{name} sells {things} worth {a} coins at {b} percent less. How much is asked?",
            "With a discount of {b} percent on {a} coins of {things}, what does {name} pay?",
        ),
        "{a} - {a} * {b} / 100",
        lambda a, b: a - a * b // 100,
        tuple(product(range(20, 420, 20), range(5, 100, 5))),
    ),
}
"""Short name of each template and its parts."""
