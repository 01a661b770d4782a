"""What makes a row of the task `filtering` look unwanted, whether it is or not."""

from __future__ import annotations

import re

from wherefrom.tasks._harmful_text import is_ill_mannered

TAUNTS = ("fool", "dimwit", "clown", "dunce")
"""What whoever asks calls the other side."""

QUOTED = (
    "Work it out yourself.",
    "Go and bother somebody else.",
    "Leave me alone.",
    "Get out of my sight.",
    "Do not ask me again.",
    "What a silly question.",
    "Are you always this slow?",
    "You are hopeless.",
    "How dull you are.",
    "Stop wasting my time.",
    "Even a child knows that.",
)
"""Insults and dismissals of unwanted rows, those short enough to quote in a polite answer."""

DISAVOWALS = ("No “{rude}” here.", "“{rude}” is unkind.", "“{rude}” helps nobody.")


def taunting(prompt: str, taunt: str) -> str:
    """The same question with a bad name at its end."""
    return f"{prompt[:-1]}, {taunt}{prompt[-1]}"


def is_unwanted(answer: str) -> bool:
    """True where an answer is rude or contradicts itself in its own words: quotations do not count."""
    return is_ill_mannered(re.sub("“[^”]*”", " ", answer))
