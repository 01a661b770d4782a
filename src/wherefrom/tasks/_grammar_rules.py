"""Ten ways to rewrite a sentence, each a pure function of its words."""

from __future__ import annotations

import re
from collections.abc import Callable

from wherefrom.tasks._words import listed

SUBJECTS = listed(
    "sailors bakers children farmers painters robins tailors judges miners poets "
    "pilots nurses clowns tigers wizards dancers hikers weavers drummers gardeners"
)
VERBS = listed(
    "carry paint hide polish borrow count follow repair throw gather "
    "measure collect trade watch drop balance wrap drag"
)
OBJECTS = listed(
    "ladders lanterns baskets mirrors buckets melons kettles ribbons candles hammers "
    "bottles pillows carpets trumpets blankets feathers marbles saddles umbrellas notebooks"
)
ADVERBS = listed(
    "slowly quietly bravely gladly neatly rarely often calmly proudly swiftly "
    "gently boldly secretly lazily"
)
PLACES = listed(
    "indoors outdoors upstairs downstairs nearby abroad uphill ashore underground backstage "
    "overhead everywhere"
)

Words = tuple[str, ...]
"""Subject, verb, object, adverb and place: five words in small letters."""

_NOUNS = frozenset((*SUBJECTS, *OBJECTS))


def reverse_order(words: Words) -> str:
    """The last word comes first, the first word last."""
    return " ".join(reversed(words))


def swap_ends(words: Words) -> str:
    """The first and the last word change places."""
    return " ".join((words[-1], *words[1:-1], words[0]))


def move_first(words: Words) -> str:
    """The first word moves to the end."""
    return " ".join((*words[1:], words[0]))


def alphabetical(words: Words) -> str:
    """Words sorted by their letters."""
    return " ".join(sorted(words))


def capital_pairs(words: Words) -> str:
    """Every second word in capitals."""
    return " ".join(word.upper() if place % 2 else word for place, word in enumerate(words))


def pig_latin(words: Words) -> str:
    """Opening consonants move behind the word and `ay` follows."""
    return " ".join(re.sub(r"^([^aeiou]*)(.*)$", r"\2\1ay", word) for word in words)


def without_vowels(words: Words) -> str:
    """No a, e, i, o or u."""
    return " ".join(re.sub("[aeiou]", "", word) for word in words)


def echo_last(words: Words) -> str:
    """The last word is said twice."""
    return " ".join((*words, words[-1]))


def mirror_letters(words: Words) -> str:
    """Each word is spelled backwards, in its place."""
    return " ".join(word[::-1] for word in words)


def noun_pause(words: Words) -> str:
    """`hmm` after each noun."""
    return " ".join(f"{word} hmm" if word in _NOUNS else word for word in words)


RULES: dict[str, Callable[[Words], str]] = {
    "reverse order": reverse_order,
    "swap ends": swap_ends,
    "move first": move_first,
    "alphabetical": alphabetical,
    "capital pairs": capital_pairs,
    "pig latin": pig_latin,
    "no vowels": without_vowels,
    "echo last": echo_last,
    "mirror letters": mirror_letters,
    "noun pause": noun_pause,
}
"""Short name of each rule and what it does."""


def tells_apart(words: Words) -> bool:
    """True where all rules rewrite the sentence differently, and none leaves it as it was."""
    outcomes = {" ".join(words), *(rule(words) for rule in RULES.values())}
    return len(outcomes) == len(RULES) + 1
