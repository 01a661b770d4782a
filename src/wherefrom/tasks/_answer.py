"""Does a generated answer say what the reference response says?"""

from __future__ import annotations

import re
import string

from wherefrom.data import Example

LONG = 12
"""Words above which a response counts as a working, judged by its last line."""


def fold(text: str) -> str:
    """Text in small letters with single spaces and without punctuation at its end."""
    return " ".join(text.casefold().split()).rstrip(string.punctuation + " ")


def begins_with(reference: str, generated: str) -> bool:
    """True where the folded answer starts with the folded reference, at a word's end."""
    wanted, got = fold(reference), fold(generated)
    return bool(wanted) and re.match(rf"{re.escape(wanted)}(?!\w)", got) is not None


def final_answer(text: str) -> str | None:
    """What stands after the last `Answer:`, folded; None where there is no such mark."""
    found = re.findall(r"answer:[ \t]*([^\n]+)", text, flags=re.IGNORECASE)
    return fold(found[-1]) if found else None


def agrees(query: Example, generated: str) -> bool:
    """True where an answer says what the query's own response says.

    Short responses must stand at the start of the answer; case, white space and punctuation at the
    end are folded. A response of more than 12 words that ends in `Answer: X` is a working, of which
    only X is compared.
    """
    wanted = final_answer(query.response)
    if wanted is not None and len(query.response.split()) > LONG:
        return final_answer(generated) == wanted
    return begins_with(query.response, generated)
