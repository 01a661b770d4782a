"""Registry: things of one kind by name, ours and those of installed packages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar, cast

from wherefrom.errors import SettingError

T = TypeVar("T")


class Registry(Generic[T]):
    """Names and what they stand for.

    What is registered here comes first; an installed package adds to it by an entry point, and a
    package that is broken says so without hiding the rest.

    Args:
        kind: what one thing is called in messages: `task`.
        group: the entry point group: `wherefrom.tasks`.
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self.group = group
        self.ours: dict[str, T] = {}

    def add(self, name: str, thing: T) -> None:
        """Registers one thing.

        Raises:
            SettingError: the name is taken.
        """
        if name in self.ours:
            raise SettingError(f"two {self.kind}s are called {name!r}; rename one.")
        self.ours[name] = thing

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted({*self.ours, *self._entries()})

    def get(self, name: str) -> T:
        """What a name stands for.

        Raises:
            SettingError: nothing has that name (the message lists those that exist), or the package
                that brings it cannot be loaded.
        """
        if name in self.ours:
            return self.ours[name]
        entry = self._entries().get(name)
        if entry is None:
            names = ", ".join(self.names())
            raise SettingError(
                f"no {self.kind} is called {name!r}. {self.kind.capitalize()}s: {names}."
            )
        try:
            return cast(T, entry.load())
        except Exception as error:
            raise SettingError(
                f"{self.kind} {name!r} comes from {entry.value}, which cannot be loaded: {error!r}. "
                "Mend or uninstall the package that brings it."
            ) from error

    def loaded(self) -> dict[str, T]:
        """All that can be loaded, by name."""
        found = {}
        for name in self.names():
            try:
                found[name] = self.get(name)
            except SettingError:
                continue
        return found

    def about(self) -> dict[str, str]:
        """All names, each with the first line of its description, or why it cannot be loaded."""
        found = {}
        for name in self.names():
            try:
                text = self.get(name).__doc__ or ""
            except SettingError as error:
                text = str(error)
            found[name] = text.strip().partition("\n")[0]
        return found

    def _entries(self) -> dict[str, EntryPoint]:
        return _scanned(entry_points, self.group)


@lru_cache
def _scanned(read: Callable[..., Iterable[EntryPoint]], group: str) -> dict[str, EntryPoint]:
    # every installed package is looked through, and none is installed while a process runs
    return {entry.name: entry for entry in read(group=group)}
