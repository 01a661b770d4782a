"""What a request asks for: JSON taken apart, anything unfit refused in one sentence."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request

from wherefrom.app._desk import SIDES
from wherefrom.app._facets import Filter
from wherefrom.errors import SettingError

_BYTES = 4_000_000
_ROWS = 200
LONGEST_ANSWER = 512
"""Tokens of an answer at most."""


class Asked:
    """The fields of one request.

    Args:
        fields: by name.
    """

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    @classmethod
    async def of(cls, request: Request) -> Asked:
        """Reads a request's JSON object.

        Raises:
            SettingError: it is none, or too long.
        """
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _BYTES:
                raise SettingError(
                    f"the question is too long: at most {_BYTES // 1_000_000} MB are taken."
                )
        try:
            fields = json.loads(body)
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            raise SettingError("the request is no JSON object.")
        return cls(fields)

    def text(self, name: str, default: str | None = None) -> str:
        """A text; as it is, since what is to be explained must not be changed."""
        value = self._fields.get(name, default)
        if not isinstance(value, str):
            raise SettingError(f"{name} must be a text.")
        return value

    def number(self, name: str, least: int, most: int, default: int | None = None) -> int:
        """A whole number."""
        value = self._fields.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise SettingError(f"{name} must be a whole number from {least} to {most:,}.")
        return value

    def mark(self) -> str | None:
        """A mark; None takes it away."""
        return None if self._fields.get("mark") is None else self.text("mark")

    def sides(self) -> tuple[str, ...]:
        """Ends of the ranking; both where none is named."""
        side = self._fields.get("side")
        if side is None:
            return SIDES
        if side not in SIDES:
            raise SettingError(f"side must be {' or '.join(SIDES)}.")
        return (side,)

    def range(self) -> tuple[int, int]:
        """Place of the first row, and how many."""
        start = self.number("start", 0, 1_000_000_000, 0)
        return start, self.number("count", 1, _ROWS, 10)

    def filter(self) -> Filter:
        """Which rows are wanted."""
        facet = self._fields.get("facet")
        if facet is not None:
            whole = isinstance(facet, list) and len(facet) == 2
            if not whole or any(type(place) is not int for place in facet):
                raise SettingError("facet must be two whole numbers.")
            facet = (facet[0], facet[1])
        return Filter(facet, self.text("text", "").strip(), self.text("marked", ""))
