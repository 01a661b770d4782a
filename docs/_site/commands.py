"""The page of the command line, from the very parsers that the program runs."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import typer

from wherefrom.cli._main import app

_EXAMPLE = re.compile(r"(?:(.+?): )?((?:wherefrom|torchrun|accelerate) .+)", re.DOTALL)


def verbs() -> dict[str, Any]:
    """The commands by name, in the order in which `wherefrom --help` lists them."""
    return dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def page() -> str:
    """One section for each verb: what it does, examples, arguments and options."""
    listed = "\n".join(f"- [`{name}`](#{name}): {_first(verb)}" for name, verb in verbs().items())
    sections = [_section(name, verb) for name, verb in verbs().items()]
    return "\n\n".join(
        [
            "# Command line",
            "What `wherefrom VERB --help` prints, from the same source. A user's mistake ends in one line "
            "that names file, row and fix, and exit status 2; results go to standard output, progress to "
            "standard error.",
            listed,
            *sections,
        ]
    )


def examples(verb: Any) -> list[tuple[str, str]]:
    """The command lines that a verb's help shows, each with what stands before it."""
    found = (_EXAMPLE.fullmatch(text) for text in _paragraphs(verb))
    return [(match[1] or "Example", match[2]) for match in found if match]


def _section(name: str, verb: Any) -> str:
    text = [p for p in _paragraphs(verb) if not _EXAMPLE.fullmatch(p)]
    parts = [f"## {name}", *text]
    parts += [f"{about}:\n\n    {line}" for about, line in examples(verb)]
    kinds = _kinds()[name]
    rows = [_row(one, kinds[one.name]) for one in verb.params if one.name in kinds]
    head = "| argument or option | value | if not given | |\n|---|---|---|---|"
    return "\n\n".join([*parts, "\n".join([head, *rows])])


def _row(one: Any, kind: Any) -> str:
    argument = one.param_type_name == "argument"
    names = one.name.upper() if argument else ", ".join([*one.opts, *one.secondary_opts])
    default = "**needed**" if one.required else _shown(one.default)
    return f"| `{names}` | {_kind(kind)} | {_cell(default)} | {_cell(one.help or '')} |"


def _kinds() -> dict[str, dict[str, Any]]:
    """By verb and parameter, the types that the functions state."""
    return {
        str(one.name): get_type_hints(one.callback)
        for one in app.registered_commands
        if one.callback
    }


def _kind(kind: Any) -> str:
    if get_origin(kind) in (Union, UnionType):
        return ", ".join(_kind(each) for each in get_args(kind) if each is not type(None))
    if get_origin(kind) is list:
        return f"{_kind(get_args(kind)[0])}, several"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(f"`{each.value}`" for each in kind)
    return {str: "text", Path: "path", int: "whole number", float: "number"}.get(kind, "")


def _shown(default: Any) -> str:
    if default is None or callable(default):
        return "–"
    if isinstance(default, bool):
        return "on" if default else "off"
    return f"`{getattr(default, 'value', default)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _first(verb: Any) -> str:
    return _paragraphs(verb)[0]


def _paragraphs(verb: Any) -> list[str]:
    return [" ".join(part.split()) for part in (verb.help or "").split("\n\n") if part.strip()]
