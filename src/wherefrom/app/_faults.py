"""Faults: what the browser is told when something cannot be done."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from wherefrom.errors import WherefromError
from wherefrom.progress import say
from wherefrom.safetext import printable

OURS = "Something went wrong that should not have; the terminal says what."
_LONGEST = 2000


def sentence(error: BaseException) -> str:
    """One sentence for the browser; a fault of our own is told in full at the terminal alone."""
    if isinstance(error, WherefromError):
        text = printable(str(error), _LONGEST)
        return text[:1].upper() + text[1:]
    if isinstance(error, HTTPException):
        return printable(str(error.detail), _LONGEST)
    say("".join(traceback.format_exception(error)))
    return OURS


async def told(_: Request, error: Exception) -> Response:
    """The error as JSON: the user's mistakes as 400, ours as 500."""
    status, headers = 500, None
    if isinstance(error, WherefromError):
        status = 400
    elif isinstance(error, HTTPException):
        status, headers = error.status_code, error.headers
    return _json({"error": sentence(error)}, status, headers)


def _json(held: Any, status: int, headers: Mapping[str, str] | None) -> Response:
    return JSONResponse(held, status, dict(headers or {}))
