"""The list of methods, and the grammar that names them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from wherefrom.errors import SettingError
from wherefrom.methods._method import Method, shown
from wherefrom.registry import Registry

M = TypeVar("M", bound=type[Method])
_METHODS: Registry[type[Method]] = Registry("method", "wherefrom.methods")

PAPER = ("gradient_dot", "datainf", "paper_lissa", "repsim")
"""The methods of arXiv 2409.19998: Hessian-free, DataInf, LiSSA as released, RepSim."""

_FAST = ("text", "forward", "one pass")


def method(name: str) -> Callable[[M], M]:
    """Registers a method under a name; packages use the entry point `wherefrom.methods`."""

    def register(cls: M) -> M:
        _METHODS.add(name, cls)
        cls.name = name
        return cls

    return register


def registered() -> dict[str, type[Method]]:
    """All methods by name, those of other installed packages too; what cannot be used is left out."""
    found = {}
    for name in _METHODS.names():
        try:
            found[name] = _usable(name)
        except SettingError:
            continue
    return found


def _usable(name: str) -> type[Method]:
    """The class of a name.

    Raises:
        SettingError: nothing has that name, or what an installed package brings under it is no method.
    """
    cls = _METHODS.get(name)
    if not (isinstance(cls, type) and issubclass(cls, Method)):
        raise SettingError(f"method {name!r}: what the package brings is {cls!r}, no Method class.")
    if not hasattr(cls, "name"):
        cls.name = name
    if cls.name != name:
        raise SettingError(
            f"method {name!r} calls itself {cls.name!r}; its entry point must have that name too."
        )
    try:
        cls.variants()
    except Exception as error:
        raise SettingError(
            f"method {name!r} cannot be made with its defaults: {error!r}."
        ) from error
    return cls


def parse_method(spec: str) -> Method:
    """The method that a spec names: `NAME` or `NAME(setting=value, …)`.

    Example:
        >>> parse_method("gradient_cosine(scope=whole)").spec
        'gradient_cosine(scope=whole)'

    Raises:
        SettingError: no such method or setting; the message lists those that exist.
    """
    match = re.fullmatch(r"\s*([\w-]+)\s*(?:\((.*)\))?\s*", spec, re.DOTALL)
    if match is None:
        raise SettingError(f"{spec!r} is no method; write NAME or NAME(setting=value, …).")
    cls = _usable(match[1])
    known = {f.name: f for f in fields(cls)}
    settings = {}
    for part in filter(None, (p.strip() for p in (match[2] or "").split(","))):
        key, equals, text = (p.strip() for p in part.partition("="))
        if not equals or key not in known:
            raise SettingError(
                f"{match[1]} has no setting {key!r}. Settings: "
                f"{', '.join(f'{k}={shown(f.default)}' for k, f in known.items()) or 'none'}."
            )
        settings[key] = _value(text, f"{match[1]}({key})", known[key].default, str(known[key].type))
    return cls(**settings)


def select_methods(specs: Sequence[str]) -> list[Method]:
    """The methods that specs name, each once, in the order given.

    `all` stands for every variant of every method, `fast` for those that one forward and one backward
    pass serve, `paper` for those of arXiv 2409.19998.

    Raises:
        SettingError: a spec names no method, or nothing is chosen.
    """
    chosen: dict[str, Method] = {}
    for spec in specs:
        if spec in ("all", "fast"):
            every = [v for cls in registered().values() for v in cls.variants()]
            found = [m for m in every if spec == "all" or m.cost in _FAST]
        elif spec == "paper":
            found = [parse_method(name) for name in PAPER]
        else:
            found = [parse_method(spec)]
        chosen |= {m.spec: m for m in found if m.spec not in chosen}
    if not chosen:
        raise SettingError("no method was chosen; give names, all, fast or paper.")
    return list(chosen.values())


def split_specs(text: str) -> list[str]:
    """Cuts `a,b(x=1,y=2),c` at the commas outside brackets.

    Example:
        >>> split_specs("bm25, repsim(layer=3,centre=true)")
        ['bm25', 'repsim(layer=3,centre=true)']
    """
    return [part.strip() for part in re.split(r",(?![^(]*\))", text) if part.strip()]


def _value(text: str, where: str, default: Any, kind: str) -> Any:
    if default is MISSING:
        return text
    if text.lower() in ("none", "null") and (default is None or "None" in kind):
        return None
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise SettingError(f"{where} must be true or false, not {text!r}.")
        return text.lower() == "true"
    if isinstance(default, str) or kind.startswith(("str", "Literal")):
        return text
    try:
        return int(text) if isinstance(default, int) or kind.startswith("int") else float(text)
    except ValueError:
        raise SettingError(f"{where} must be a number, not {text!r}.") from None
